"""What all other packages use: errors, params, files, tables, reports and their schemas."""
