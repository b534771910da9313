//! The folder of a cluster and its members: a properties file each, which is all that says what a member is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::properties;

/// Most brokers of one cluster: a machine for trying things out has no use for more, and their ports stay together.
pub const BROKERS_MAX: usize = 9;
/// Port of the first broker's console, where it is free.
pub const CONSOLE_PORT: u16 = 8080;
/// More copies than this gain nothing for trying things out (`offsets.topic.replication.factor` of Kafka).
const REPLICAS_MAX: usize = 3;

/// Keeper, or broker of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The keeper.
    Keeper,
    /// The broker of this id.
    Broker(usize),
}

impl Role {
    /// `keeper`, `broker-0`: what its files are called.
    pub fn file_name(self) -> String {
        match self {
            Role::Keeper => "keeper".to_owned(),
            Role::Broker(id) => format!("broker-{id}"),
        }
    }

    /// The tool that runs it.
    pub fn tool(self) -> &'static str {
        match self {
            Role::Keeper => "zookeeper-server-start",
            Role::Broker(_) => "kafka-server-start",
        }
    }
}

impl std::fmt::Display for Role {
    /// `broker 0`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Role::Keeper => f.write_str("keeper"),
            Role::Broker(id) => write!(f, "broker {id}"),
        }
    }
}

/// A member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it is.
    pub role: Role,
    /// Where clients reach it.
    pub port: u16,
    /// Where its metrics and health are; `None` for the keeper, and where somebody has switched them off.
    pub console: Option<u16>,
}

/// A cluster as its folder describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The keeper, where it has one of its own; then the brokers, by id.
    pub members: Vec<Member>,
    /// `zookeeper.connect` of its brokers.
    pub zookeeper: String,
}

impl Cluster {
    /// Its brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role != Role::Keeper)
    }

    /// Whether its keeper is one of its members.
    pub fn has_keeper(&self) -> bool {
        self.members.iter().any(|member| member.role == Role::Keeper)
    }

    /// `localhost:9092,localhost:9093`
    pub fn bootstrap(&self) -> String {
        self.brokers().map(|broker| format!("localhost:{}", broker.port)).collect::<Vec<_>>().join(",")
    }
}

/// Where everything of a cluster lies.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `dir`, there or not.
    ///
    /// # Errors
    /// Where the current folder is gone.
    pub fn at(dir: &Path) -> Result<Folder, Failure> {
        // Whole paths: a process is found again by them, whatever folder it was started in.
        let root = std::path::absolute(dir)
            .map_err(|error| Failure::new(format!("cannot find {}", dir.display())).cause(error))?;
        Ok(Folder { root })
    }

    /// Itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes it, with the folder of logs.
    pub fn make(&self) -> std::io::Result<()> {
        fs::create_dir_all(self.root.join("logs"))
    }

    /// Held by whoever changes the cluster.
    pub fn lock(&self) -> PathBuf {
        self.root.join("dev.lock")
    }

    /// The properties of a member.
    pub fn properties(&self, role: Role) -> PathBuf {
        match role {
            Role::Keeper => self.root.join("zookeeper.properties"),
            Role::Broker(id) => self.root.join(format!("server-{id}.properties")),
        }
    }

    /// Where it keeps its data.
    pub fn data(&self, role: Role) -> PathBuf {
        self.root.join(role.file_name())
    }

    /// What it says.
    pub fn log(&self, role: Role) -> PathBuf {
        self.root.join("logs").join(format!("{}.log", role.file_name()))
    }

    /// The id of its process.
    pub fn pid(&self, role: Role) -> PathBuf {
        self.root.join(format!("{}.pid", role.file_name()))
    }

    /// The cluster that lies here; `None` where there is none.
    ///
    /// # Errors
    /// A properties file that somebody has made unreadable.
    pub fn read(&self) -> Result<Option<Cluster>, Failure> {
        let mut members = Vec::new();
        let keeper = self.properties(Role::Keeper);
        if keeper.exists() {
            members.push(Member { role: Role::Keeper, port: keeper_port(&keeper)?, console: None });
        }
        let mut zookeeper = None;
        for id in 0..BROKERS_MAX {
            let path = self.properties(Role::Broker(id));
            if !path.exists() {
                break;
            }
            members.push(Member { role: Role::Broker(id), port: broker_port(&path)?, console: console_port(&path)? });
            if zookeeper.is_none() {
                zookeeper = Some(setting(&path, "zookeeper.connect")?);
            }
        }
        Ok(zookeeper.map(|zookeeper| Cluster { members, zookeeper }))
    }

    /// Writes the properties of a member. In a file that is there only the ports and the ZooKeeper are changed, and only where they are others: the rest is its owner's.
    pub fn write(&self, member: &Member, cluster: &Cluster) -> std::io::Result<()> {
        let path = self.properties(member.role);
        let there = match fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let text = match there {
            None => self.text(member, cluster),
            Some(text) => {
                let known = self.read().ok().flatten();
                let before = known.as_ref().and_then(|known| known.members.iter().find(|one| one.role == member.role));
                let zookeeper = known.as_ref().map(|known| known.zookeeper.as_str());
                changed(&text, member, before, &cluster.zookeeper, zookeeper)
            }
        };
        fs::write(path, text)
    }

    fn text(&self, member: &Member, cluster: &Cluster) -> String {
        const HEAD: &str = "# Written by `tidemill dev up`; yours to change while the cluster is stopped.";
        let data = escaped(&self.data(member.role));
        let port = member.port;
        match member.role {
            Role::Keeper => format!(
                "{HEAD}\ndataDir={data}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
                 # 0: no limit on connections from one address.\nmaxClientCnxns=0\n"
            ),
            Role::Broker(id) => {
                let replicas = cluster.brokers().count().min(REPLICAS_MAX);
                let zookeeper = &cluster.zookeeper;
                format!(
                    "{HEAD}\nbroker.id={id}\nlisteners={}\nhttp.listener={}\nlog.dirs={data}\nzookeeper.connect={zookeeper}\n\
                     # A broker that is killed is missed after this time; Kafka's own is 18000 since 2.5.\n\
                     zookeeper.session.timeout.ms=6000\n\
                     # A group that begins does not wait for more members, as in Kafka's own file for trying it out.\n\
                     group.initial.rebalance.delay.ms=0\n\
                     # Replicas of topics that are created without a number, and of the groups' offsets.\n\
                     default.replication.factor={replicas}\noffsets.topic.replication.factor={replicas}\n",
                    listener(port),
                    console(member.console)
                )
            }
        }
    }

    /// Removes all that `up` made, and the folder if nothing else is in it.
    pub fn remove(&self) -> std::io::Result<()> {
        let roles = std::iter::once(Role::Keeper).chain((0..BROKERS_MAX).map(Role::Broker));
        for role in roles {
            gone(fs::remove_dir_all(self.data(role)))?;
            gone(fs::remove_file(self.log(role)))?;
            gone(fs::remove_file(self.pid(role)))?;
            gone(fs::remove_file(self.properties(role)))?;
        }
        gone(fs::remove_file(self.lock()))?;
        // Somebody's own files in them keep the folders.
        let _ = fs::remove_dir(self.root.join("logs"));
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }
}

fn listener(port: u16) -> String {
    format!("PLAINTEXT://localhost:{port}")
}

fn console(port: Option<u16>) -> String {
    port.map_or("none".to_owned(), |port| format!("127.0.0.1:{port}"))
}

/// The text of a properties file with other ports, where they are others, and another ZooKeeper, where it is.
fn changed(text: &str, member: &Member, before: Option<&Member>, zookeeper: &str, was: Option<&str>) -> String {
    let mut settings = Vec::new();
    if before.is_none_or(|before| before.port != member.port) {
        settings.push(match member.role {
            Role::Keeper => ("clientPort", member.port.to_string()),
            Role::Broker(_) => ("listeners", listener(member.port)),
        });
    }
    if member.role != Role::Keeper {
        if before.is_none_or(|before| before.console != member.console) {
            settings.push(("http.listener", console(member.console)));
        }
        if was != Some(zookeeper) {
            settings.push(("zookeeper.connect", zookeeper.to_owned()));
        }
    }
    let line = |line: &str| {
        let name = line.split(['=', ':']).next().unwrap_or_default().trim();
        let other = settings.iter().find(|(key, _)| *key == name);
        other.map_or(line.to_owned(), |(key, value)| format!("{key}={value}"))
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

/// What is not there need not be removed.
fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A path as a value of a properties file, in which a backslash begins an escape.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\")
}

fn setting(path: &Path, name: &str) -> Result<String, Failure> {
    let pairs = properties::file(&path.display().to_string())?;
    properties::last(&pairs, name)
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| unusable(path, &format!("it has no {name}")))
}

fn keeper_port(path: &Path) -> Result<u16, Failure> {
    let value = setting(path, "clientPort")?;
    value.parse().map_err(|_| unusable(path, &format!("clientPort is {value}")))
}

fn broker_port(path: &Path) -> Result<u16, Failure> {
    let value = setting(path, "listeners")?;
    let port = value.split(',').next().and_then(|first| first.rsplit_once(':')).and_then(|(_, port)| port.parse().ok());
    port.ok_or_else(|| unusable(path, &format!("listeners is {value}, and its first one has no port")))
}

/// Port of `http.listener`; `None` where it is switched off or nobody can tell it from the file.
fn console_port(path: &Path) -> Result<Option<u16>, Failure> {
    let pairs = properties::file(&path.display().to_string())?;
    let value = properties::last(&pairs, "http.listener").unwrap_or_default();
    Ok(value.rsplit(':').next().and_then(|port| port.trim().parse().ok()))
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::new(format!("cannot use {}", path.display())).cause(why).help(format!("vi +1 {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let member = |role, port| Member { role, port, console: None };
        Cluster {
            members: vec![
                member(Role::Keeper, 2181),
                member(Role::Broker(0), 9092),
                Member { console: Some(8081), ..member(Role::Broker(1), 9093) },
            ],
            zookeeper: "localhost:2181".to_owned(),
        }
    }

    #[test]
    fn a_cluster_is_read_as_it_was_written() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(&place.path().join("dev")).unwrap();
        assert_eq!(folder.read().unwrap(), None);
        folder.make().unwrap();
        for member in &cluster().members {
            folder.write(member, &cluster()).unwrap();
        }
        assert_eq!(folder.read().unwrap(), Some(cluster()));
        assert_eq!(cluster().bootstrap(), "localhost:9092,localhost:9093");
        let own = folder.root().join("notes.txt");
        fs::write(&own, "mine").unwrap();
        folder.remove().unwrap();
        assert!(own.exists() && folder.read().unwrap().is_none(), "only what was made here is removed");
        fs::remove_file(own).unwrap();
        folder.remove().unwrap();
        assert!(!folder.root().exists());
    }

    #[test]
    fn members_are_set_as_people_expect_of_a_cluster() {
        let folder = Folder::at(Path::new("/c")).unwrap();
        let text = folder.text(&cluster().members[2], &cluster());
        insta::assert_snapshot!(text, @r"
        # Written by `tidemill dev up`; yours to change while the cluster is stopped.
        broker.id=1
        listeners=PLAINTEXT://localhost:9093
        http.listener=127.0.0.1:8081
        log.dirs=/c/broker-1
        zookeeper.connect=localhost:2181
        # A broker that is killed is missed after this time; Kafka's own is 18000 since 2.5.
        zookeeper.session.timeout.ms=6000
        # A group that begins does not wait for more members, as in Kafka's own file for trying it out.
        group.initial.rebalance.delay.ms=0
        # Replicas of topics that are created without a number, and of the groups' offsets.
        default.replication.factor=2
        offsets.topic.replication.factor=2
        ");
        insta::assert_snapshot!(folder.text(&cluster().members[0], &cluster()), @r"
        # Written by `tidemill dev up`; yours to change while the cluster is stopped.
        dataDir=/c/keeper
        clientPort=2181
        clientPortAddress=127.0.0.1
        # 0: no limit on connections from one address.
        maxClientCnxns=0
        ");
    }

    #[test]
    fn what_its_owner_has_written_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path()).unwrap();
        folder.make().unwrap();
        let there = cluster();
        there.members.iter().for_each(|member| folder.write(member, &there).unwrap());
        let path = folder.properties(Role::Broker(1));
        let text = fs::read_to_string(&path).unwrap() + "num.partitions=7\nlisteners.more=x\n";
        fs::write(&path, &text).unwrap();
        folder.write(&there.members[2], &there).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let moved = Member { port: 19093, console: Some(18081), ..there.members[2].clone() };
        folder.write(&moved, &Cluster { zookeeper: "localhost:12181".to_owned(), ..there.clone() }).unwrap();
        let expected = text.replace(":9093", ":19093").replace(":8081", ":18081").replace(":2181", ":12181");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn a_file_that_was_changed_for_the_worse_is_named() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(place.path()).unwrap();
        fs::write(folder.properties(Role::Broker(0)), "listeners=PLAINTEXT://localhost\nzookeeper.connect=h:1\n")
            .unwrap();
        let said = folder.read().unwrap_err().to_string();
        assert!(
            said.contains("\ncause: listeners is PLAINTEXT://localhost, and its first one has no port\nhelp: vi +1 "),
            "{said}"
        );
    }
}
