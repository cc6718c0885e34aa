# Writes the verdict of the spam detector into each mail, and moves what is surely spam to Junk.
# If there is no answer, the mail is delivered as it came.
require ["vnd.dovecot.execute", "variables", "editheader", "fileinto", "mailbox"];

deleteheader "X-Spam-Flag"; # a sender may have written it
deleteheader "X-Spam-Verdict";
if execute :pipe :output "verdict" "spam-verdict" {
  addheader "X-Spam-Verdict" "${verdict}";
  if string :is "${verdict}" "spam" {
    addheader "X-Spam-Flag" "YES";
    fileinto :create "Junk";
  }
}
