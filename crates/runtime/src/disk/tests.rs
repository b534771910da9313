use super::*;

#[test]
fn a_replaced_file_holds_the_new_bytes_and_leaves_no_temporary() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("meta.properties");
    let disk = Disk::real();
    disk.write_atomic(&path, b"old").unwrap();
    disk.write_atomic(&path, b"new").unwrap();
    assert_eq!(disk.read(&path, 100).unwrap(), b"new");
    assert_eq!(disk.read_dir(directory.path()).unwrap().len(), 1);
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("long");
    Disk::real().write_atomic(&path, &[0; 101]).unwrap();
    assert_eq!(Disk::real().read(&path, 100).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_held_lock_is_not_given_twice_and_names_its_holder() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(".lock");
    let disk = Disk::real();
    let lock = disk.try_lock(&path).unwrap().expect("free");
    assert!(disk.try_lock(&path).unwrap().is_none());
    assert_eq!(disk.lock_holder(&path), Some(std::process::id()));
    lock.write_notes("session=1\n").unwrap();
    assert_eq!(disk.lock_holder(&path), Some(std::process::id()));
    drop(lock);
    let lock = disk.try_lock(&path).unwrap().expect("free again");
    let text = |notes: &str| format!("{}\n{notes}", std::process::id()).into_bytes();
    assert_eq!(
        disk.read(&path, 4096).unwrap(),
        text("session=1\n"),
        "the last owner's notes stay until there are others"
    );
    lock.write_notes("s=2\n").unwrap();
    assert_eq!(disk.read(&path, 4096).unwrap(), text("s=2\n"));
}

#[test]
fn reserved_space_does_not_show_in_the_length() {
    let directory = tempfile::tempdir().unwrap();
    let file = Disk::real().open(&directory.path().join("log"), Open::CreateNew).unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    file.reserve(0, 1 << 20).unwrap();
    assert_eq!(file.len().unwrap(), 3);
    let mut buffer = [0; 8];
    assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 2);
    assert_eq!(&buffer[..2], b"bc");
}
