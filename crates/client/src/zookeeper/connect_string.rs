//! The text that says where ZooKeeper is, `h1:2181,h2:2181/chroot`, and the chroot every path of a session is under.

use crate::zookeeper::ZkError;

/// Port of a host that names none.
pub const DEFAULT_PORT: u16 = 2181;

/// Servers to try, and the subtree to live in (Java: `ConnectStringParser`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectString {
    hosts: Vec<(String, u16)>,
    chroot: Chroot,
}

/// The subtree a session sees as its root. Empty for the whole tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chroot(String);

impl ConnectString {
    /// Reads `host[:port][,host[:port]...][/chroot]`. Blanks around hosts and empty entries are ignored, as Java ignores them.
    ///
    /// # Errors
    /// [`ZkError::BadConnectString`] names what is wrong with it.
    pub fn parse(text: &str) -> Result<ConnectString, ZkError> {
        let bad = |why: String| ZkError::BadConnectString { text: text.to_owned(), why };
        let (hosts, chroot) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, ""),
        };
        let chroot = chroot.trim_end();
        if !chroot.is_empty() {
            protocol::zookeeper::path::validate(chroot).map_err(|e| bad(format!("chroot {chroot}: {e}")))?;
        }
        let chroot = Chroot(if chroot == "/" { String::new() } else { chroot.to_owned() });
        let hosts = hosts
            .split(',')
            .map(str::trim)
            .filter(|host| !host.is_empty())
            .map(|host| parse_host(host).map_err(bad))
            .collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(bad("it names no host".to_owned()));
        }
        Ok(ConnectString { hosts, chroot })
    }

    /// The servers, as written.
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }

    /// The subtree.
    pub fn chroot(&self) -> &Chroot {
        &self.chroot
    }
}

impl std::fmt::Display for ConnectString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if host.contains(':') { write!(f, "{comma}[{host}]:{port}")? } else { write!(f, "{comma}{host}:{port}")? }
        }
        f.write_str(&self.chroot.0)
    }
}

fn parse_host(text: &str) -> Result<(String, u16), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| format!("{text} has no closing bracket"))?;
        (host, after.strip_prefix(':'))
    } else {
        match text.rsplit_once(':') {
            // More than one colon without brackets is a bare IPv6 address.
            Some((host, _)) if host.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(format!("{text} has no host before the port"));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(format!("port {port} is not a number from 1 to 65535")),
        },
    };
    Ok((host.to_owned(), port))
}

impl Chroot {
    /// The path of the subtree on the server, empty for the whole tree.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The server's name of a session's path.
    pub(crate) fn prepend(&self, path: &str) -> String {
        match (self.0.as_str(), path) {
            ("", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        }
    }

    /// The session's name of a server's path. A path outside the subtree comes back as it is: no server sends one.
    pub(crate) fn strip(&self, path: &str) -> String {
        match path.strip_prefix(self.0.as_str()) {
            Some("") => "/".to_owned(),
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            _ => path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (&'a [(&'a str, u16)], &'a str);

    fn check(text: &str, expected: Result<Parts<'_>, &str>) {
        match (ConnectString::parse(text), expected) {
            (Ok(parsed), Ok((hosts, chroot))) => {
                let got: Vec<(&str, u16)> = parsed.hosts().iter().map(|(h, p)| (h.as_str(), *p)).collect();
                assert_eq!((got.as_slice(), parsed.chroot().as_str()), (hosts, chroot), "{text}");
            }
            (Err(ZkError::BadConnectString { why, .. }), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn connect_strings_are_read_as_java_reads_them() {
        check("localhost", Ok((&[("localhost", 2181)], "")));
        check("a:1, b:2 ,,c/kafka/one", Ok((&[("a", 1), ("b", 2), ("c", 2181)], "/kafka/one")));
        check("a:1/", Ok((&[("a", 1)], "")));
        check("[::1]:2182,::1", Ok((&[("::1", 2182), ("::1", 2181)], "")));
        check("", Err("no host"));
        check("/kafka", Err("no host"));
        check("a:0", Err("port 0"));
        check("a:x", Err("port x"));
        check(":2181", Err("no host before"));
        check("[::1:2181", Err("bracket"));
        check("a/kafka/", Err("must not end"));
        check("a//kafka", Err("empty part"));
    }

    #[test]
    fn a_chroot_goes_on_and_comes_off() {
        let chroot = Chroot("/k".to_owned());
        assert_eq!(chroot.prepend("/"), "/k");
        assert_eq!(chroot.prepend("/a"), "/k/a");
        assert_eq!(chroot.strip("/k"), "/");
        assert_eq!(chroot.strip("/k/a"), "/a");
        assert_eq!(chroot.strip("/kafka"), "/kafka");
        let whole = Chroot::default();
        assert_eq!((whole.prepend("/"), whole.strip("/"), whole.strip("/a")), ("/".into(), "/".into(), "/a".into()));
    }
}
