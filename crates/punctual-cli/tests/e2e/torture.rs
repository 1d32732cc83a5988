//! `punctual torture`, as anyone runs it.

use crate::support::punctual;

#[test]
fn a_short_torture_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("torture.db");
    let store = format!("sqlite:{}", file.display());
    let flags = [
        "--nodes",
        "2",
        "--jobs",
        "30",
        "--seconds",
        "6",
        "--seed",
        "1",
    ];
    let output = punctual(folder.path())
        .args(["torture", "--store", &store])
        .args(flags)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut lines = told.lines();
    assert!(lines.next().unwrap().contains("seed 1,"), "{told}");
    let last = lines.next_back().unwrap();
    let occurrences = last
        .strip_prefix("torture sqlite: ")
        .and_then(|rest| rest.strip_suffix(" occurrences, 0 violations"));
    let occurrences: u64 = occurrences.and_then(|number| number.parse().ok()).unwrap();
    assert!(occurrences > 50, "{told}");
    assert!(lines.any(|line| line == "seed 1"), "{told}");
    // What it made is gone.
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_database_with_something_in_it_is_not_tortured() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.db"), "mine").unwrap();
    let refused = |flags: &[&str], word: &str| {
        let output = punctual(folder.path())
            .arg("torture")
            .args(flags)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(word), "{told}");
    };
    refused(
        &["--store", "sqlite:mine.db"],
        "mine.db has something in it",
    );
    refused(&["--store", "memory:"], "several processes");
    refused(&["--faults", "kill,flood"], "\"flood\" is not one of");
    refused(&["--lease", "1s"], "2s or more");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}
