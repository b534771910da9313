use super::*;
use crate::Disk;

const DIR: &str = "/data/logs";

fn made() -> (SimDisk, Disk) {
    let sim = SimDisk::new();
    let disk = Disk::Sim(sim);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    (sim, disk)
}

fn file(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn read(disk: Disk, name: &str) -> Option<Vec<u8>> {
    disk.read(&file(name), 1 << 20).ok()
}

#[test]
fn what_was_synced_with_its_name_outlasts_every_cut_and_the_rest_only_some() {
    let (sim, disk) = made();
    let synced = disk.open(&file("synced"), Open::CreateNew).unwrap();
    synced.write_all_at(&[1; 3000], 0).unwrap();
    synced.sync_data().unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    synced.write_all_at(&[2; 3000], 1500).unwrap();
    let nameless = disk.open(&file("nameless"), Open::CreateNew).unwrap();
    nameless.write_all_at(b"data", 0).unwrap();
    nameless.sync_data().unwrap();
    sim.record();
    let before = sim.take_past().remove(0);
    let (mut lengths, mut torn, mut named) = (std::collections::BTreeSet::new(), 0, 0);
    for seed in 0..200 {
        sim.become_moment(&before);
        sim.power_cut(seed);
        let bytes = read(disk, "synced").expect("the name was synced");
        assert!(bytes.len() >= 3000 && bytes[..1500].iter().all(|byte| *byte == 1), "seed {seed}");
        let sectors: Vec<bool> = bytes[1536..3000].chunks(512).map(|sector| sector[0] == 2).collect();
        torn += u32::from(sectors.contains(&true) && sectors.contains(&false));
        lengths.insert(bytes.len());
        if let Some(bytes) = read(disk, "nameless") {
            assert_eq!(bytes, b"data", "the file was synced, only its name was not");
            named += 1;
        }
    }
    assert!(lengths.len() > 1 && torn > 0 && named > 0 && named < 200, "{lengths:?} {torn} {named}");
}

#[test]
fn a_replaced_file_is_the_old_one_or_the_new_one_at_every_moment() {
    let (sim, disk) = made();
    disk.write_atomic(&file("checkpoint"), b"old").unwrap();
    sim.record();
    disk.write_atomic(&file("checkpoint"), b"new text").unwrap();
    let past = sim.take_past();
    assert!(past.len() >= 5, "create, write, sync, rename, sync of the directory");
    for (moment, past) in past.iter().enumerate() {
        for seed in 0..50 {
            sim.become_moment(past);
            sim.power_cut(seed);
            let text = read(disk, "checkpoint").expect("never absent");
            assert!(text == b"old" || text == b"new text", "moment {moment}, seed {seed}: {text:?}");
        }
    }
}

#[test]
fn after_a_failed_sync_a_second_one_proves_nothing() {
    let (sim, disk) = made();
    let log = disk.open(&file("log"), Open::CreateNew).unwrap();
    log.write_all_at(b"first", 0).unwrap();
    log.sync_data().unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    log.write_all_at(b" second", 5).unwrap();
    sim.add_fault(Fault { times: 1, ..Fault::always(Operation::SyncFile, "log") });
    assert_eq!(log.sync_data().unwrap_err().raw_os_error(), Some(5));
    log.write_all_at(b" third", 12).unwrap();
    log.sync_data().unwrap();
    assert_eq!(read(disk, "log").unwrap(), b"first second third");
    sim.power_cut(1);
    assert_eq!(read(disk, "log").unwrap(), b"first\0\0\0\0\0\0\0 third");
}

#[test]
fn a_full_disk_takes_a_part_and_takes_all_when_there_is_room() {
    let (sim, disk) = made();
    let log = disk.open(&file("log"), Open::CreateNew).unwrap();
    sim.set_capacity(Some(2000));
    assert_eq!(log.write_all_at(&[7; 3000], 0).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(log.len().unwrap(), 1536);
    assert_eq!(disk.space(Path::new(DIR)).unwrap(), Space { free: 464, total: 2000 });
    sim.set_capacity(Some(4000));
    log.write_all_at(&[7; 3000], 0).unwrap();
    assert_eq!(log.len().unwrap(), 3000);
}

#[test]
fn files_and_locks_of_an_earlier_life_are_gone() {
    let (sim, disk) = made();
    let lock = disk.try_lock(&file(".lock")).unwrap().expect("free");
    assert!(disk.try_lock(&file(".lock")).unwrap().is_none());
    let log = disk.open(&file("log"), Open::CreateNew).unwrap();
    sim.power_cut(0);
    assert!(log.write_all_at(b"late", 0).is_err());
    let again = disk.try_lock(&file(".lock")).unwrap().expect("free again");
    drop(lock);
    assert!(disk.try_lock(&file(".lock")).unwrap().is_none(), "the old lock let go of the new one");
    drop(again);
    assert!(disk.try_lock(&file(".lock")).unwrap().is_some());
}
