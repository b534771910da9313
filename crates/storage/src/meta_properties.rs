//! `meta.properties`: which broker of which cluster a log directory belongs to (version 0, as brokers with ZooKeeper write it; version 1 is read).

use std::io;
use std::path::Path;

use runtime::Disk;

use crate::error::{Result, StorageError};

/// Name of the file in each log directory.
pub const FILE: &str = "meta.properties";
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// `version`.
    pub version: i32,
    /// `broker.id`, or `node.id` in version 1.
    pub broker_id: Option<i32>,
    /// `cluster.id`; absent before Kafka 0.10.1.
    pub cluster_id: Option<String>,
}

/// Reads the file of a log directory; `None` where it has none.
///
/// # Errors
/// The file cannot be read, or does not parse.
pub fn read(disk: Disk, dir: &Path) -> Result<Option<MetaProperties>> {
    let path = dir.join(FILE);
    let bytes = match disk.read(&path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("read", &path, error)),
    };
    let wrong = |line, why: &str| StorageError::Checkpoint { path: path.clone(), line, why: why.to_owned() };
    let text = String::from_utf8(bytes).map_err(|_| wrong(1, "not text"))?;
    let mut found = MetaProperties { version: -1, broker_id: None, cluster_id: None };
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else { return Err(wrong(at + 1, "expected key=value")) };
        let value = value.trim().replace('\\', "");
        let number = || value.parse::<i32>().map_err(|_| wrong(at + 1, "expected a number"));
        match key.trim() {
            "version" => found.version = number()?,
            "broker.id" | "node.id" => found.broker_id = Some(number()?),
            "cluster.id" => found.cluster_id = Some(value),
            _ => {}
        }
    }
    match found.version {
        0 | 1 => Ok(Some(found)),
        _ => Err(wrong(1, "expected version=0 or version=1")),
    }
}

/// Whether a broker used the directory before.
#[must_use]
pub fn is_there(disk: Disk, dir: &Path) -> bool {
    disk.exists(&dir.join(FILE))
}

/// Checks the file of a log directory against this broker, and writes it where it is absent or says less than is known.
///
/// # Errors
/// [`StorageError::BrokerIdMismatch`], [`StorageError::ClusterIdMismatch`]; or the file cannot be read or written.
pub fn claim(disk: Disk, dir: &Path, broker_id: i32, cluster_id: Option<&str>) -> Result<()> {
    let path = dir.join(FILE);
    let stored = read(disk, dir)?;
    if let Some(stored) = &stored {
        if let Some(stored) = stored.broker_id.filter(|stored| *stored != broker_id) {
            return Err(StorageError::BrokerIdMismatch { dir: dir.to_owned(), stored, configured: broker_id });
        }
        if let (Some(stored), Some(expected)) = (&stored.cluster_id, cluster_id)
            && stored != expected
        {
            return Err(StorageError::ClusterIdMismatch {
                path,
                expected: expected.to_owned(),
                stored: stored.clone(),
            });
        }
        if stored.broker_id.is_some() && (stored.cluster_id.is_some() || cluster_id.is_none()) {
            return Ok(());
        }
    }
    let cluster_id = cluster_id.map(str::to_owned).or(stored.and_then(|stored| stored.cluster_id));
    let mut text = format!("#\nversion=0\nbroker.id={broker_id}\n");
    if let Some(cluster_id) = cluster_id {
        text.push_str(&format!("cluster.id={cluster_id}\n"));
    }
    disk.write_atomic(&path, text.as_bytes()).map_err(|error| StorageError::io("write", &path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_broker_of_one_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, dir) = (Disk::real(), directory.path());
        claim(disk, dir, 1, None).unwrap();
        assert_eq!(read(disk, dir).unwrap().unwrap().cluster_id, None);
        claim(disk, dir, 1, Some("abc")).unwrap();
        claim(disk, dir, 1, Some("abc")).unwrap();
        let stored = MetaProperties { version: 0, broker_id: Some(1), cluster_id: Some("abc".to_owned()) };
        assert_eq!(read(disk, dir).unwrap(), Some(stored));
        let error = claim(disk, dir, 2, Some("abc")).unwrap_err().to_string();
        assert!(error.starts_with("Stored node id 1 doesn't match previous node id 2 in "), "{error}");
        let error = claim(disk, dir, 1, Some("xyz")).unwrap_err().to_string();
        assert!(
            error.starts_with("Invalid cluster.id in: ") && error.ends_with("Expected xyz, but read abc"),
            "{error}"
        );
    }

    #[test]
    fn other_brokers_files_are_read_and_damaged_ones_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, dir) = (Disk::real(), directory.path());
        let check = |text: &str, expected: Option<(i32, Option<i32>, Option<&str>)>| {
            disk.write_atomic(&dir.join(FILE), text.as_bytes()).unwrap();
            let found = read(disk, dir).ok().flatten();
            let found = found.as_ref().map(|meta| (meta.version, meta.broker_id, meta.cluster_id.as_deref()));
            assert_eq!(found, expected, "{text:?}");
        };
        check("#Thu Nov 19 10:00:00 UTC 2026\nversion=0\nbroker.id=0\n", Some((0, Some(0), None)));
        check("version=1\nnode.id=3\ncluster.id=a\\=b\ndirectory.id=x\n", Some((1, Some(3), Some("a=b"))));
        check("broker.id=0\n", None);
        check("version=0\nbroker.id=zero\n", None);
        check("version=0\nrubbish\n", None);
    }
}
