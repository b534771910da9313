use super::*;

fn read(text: &str) -> Result<KeeperConfig, KeeperError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("zookeeper.properties");
    Disk::real().write_atomic(&file, text.as_bytes()).unwrap();
    KeeperConfig::from_properties(&file)
}

#[test]
fn kafkas_own_file_is_read() {
    let config =
        read("# the directory\ndataDir=/tmp/zookeeper\nclientPort=2181\nmaxClientCnxns=0\nadmin.enableServer=false\n")
            .unwrap();
    assert_eq!(config.data_dir, Path::new("/tmp/zookeeper"));
    assert_eq!(config.log_dir(), Path::new("/tmp/zookeeper"));
    assert_eq!(config.address, "0.0.0.0:2181".parse().unwrap());
    assert_eq!(config.max_client_connections, 0);
    assert_eq!(config.session_timeouts_ms(), (6000, 60_000));
    assert_eq!(config.four_letter_whitelist, None);
}

#[test]
fn values_are_taken() {
    let config = read(
        "dataDir = d\ndataLogDir=l\nclientPort=0\nclientPortAddress=localhost\ntickTime=2000\nminSessionTimeout=100\nmaxSessionTimeout=-1\n\
         4lw.commands.whitelist=ruok, srvr\nzookeeper.forceSync=no\nno.such.key=1\nsnapCount=5\nmetricsProvider.className=x\n",
    )
    .unwrap();
    assert_eq!(config.log_dir(), Path::new("l"));
    assert_eq!(config.address, "127.0.0.1:0".parse().unwrap());
    assert_eq!(config.session_timeouts_ms(), (100, 40_000));
    assert!(config.four_letter_whitelist.is_some_and(|words| words.len() == 2 && words.contains("srvr")));
    assert!(!config.force_sync);
    assert_eq!(config.snap_count, 5);
}

#[test]
fn bad_values_name_file_line_and_rule() {
    let check = |text: &str, line: usize, key: &str| match read(text) {
        Err(error @ KeeperError::ConfigValue { .. }) => {
            let message = error.to_string();
            assert!(message.contains(&format!("zookeeper.properties:{line}: {key}=")), "{message}");
            assert!(error.cause().is_some() && error.help().is_some());
        }
        other => panic!("{text:?} gave {other:?}"),
    };
    check("dataDir=d\nclientPort=http\n", 2, "clientPort");
    check("dataDir=d\n\nclientPort=65536\n", 3, "clientPort");
    check("tickTime=0\n", 1, "tickTime");
    check("clientPortAddress=nowhere.example\n", 1, "clientPortAddress");
    check("dataDir=\n", 1, "dataDir");
    check("dataDir=d\nminSessionTimeout=5000\nmaxSessionTimeout=4000\n", 3, "minSessionTimeout");
    check("forceSync=perhaps\n", 1, "forceSync");
    check("secureClientPort=2182\n", 1, "secureClientPort");
    check("autopurge.snapRetainCount=1\n", 1, "autopurge.snapRetainCount");
}

#[test]
fn an_ensemble_and_a_missing_directory_are_refused_with_help() {
    let error = read("dataDir=d\nserver.1=a:2888:3888\n").unwrap_err();
    assert!(matches!(&error, KeeperError::Ensemble { line: 2, .. }), "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("server.N")));
    assert!(matches!(read("clientPort=1\n"), Err(KeeperError::ConfigMissing { key: "dataDir", .. })));
    assert!(matches!(
        KeeperConfig::from_properties(Path::new("/no/such/file")),
        Err(KeeperError::ConfigUnreadable { .. })
    ));
}

#[test]
fn every_key_that_is_guessed_is_known() {
    for key in KEYS {
        assert!(!matches!(KeeperConfig::new("d").set(key, "1"), Err(Refusal::Unknown)), "{key}");
    }
}
