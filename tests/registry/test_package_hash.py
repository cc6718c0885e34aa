"""The hash of a package covers the name and the bytes of each file, but not what MLflow adds."""

from pipeline.registry.package_hash import hash_package, package_problem

MD5S = {"decision": "99914b932bd37a50b983c5e7c90ae93b", "network": "0"}  # of {}; of another format


def test_hash_covers_names_and_bytes(tmp_path):
    (tmp_path / "code.py").write_text("1")
    before = hash_package(tmp_path)
    (tmp_path / "registered_model_meta").write_text("added by MLflow")
    assert hash_package(tmp_path) == before
    (tmp_path / "code.py").write_text("2")
    assert hash_package(tmp_path) != before
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "code.py").rename(tmp_path / "other.py")
    assert hash_package(tmp_path) != before


def test_decision_is_compared_with_the_ledger_too(tmp_path):
    (tmp_path / "MLmodel").write_text("")
    (tmp_path / "artifacts").mkdir()
    decision = tmp_path / "artifacts" / "decision.json"
    decision.write_text("{}")
    assert package_problem(tmp_path, hash_package(tmp_path), MD5S) is None
    for change in (lambda: decision.write_text("[]"), decision.unlink):
        change()
        problem = package_problem(tmp_path, hash_package(tmp_path), MD5S)
        assert problem == "its decision.json is not that of the ledger"
