//! Who may do what: the schemes world, auth, digest, ip and super (`PrepRequestProcessor.fixupACL`, `ZooKeeperServer.checkACL`).

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::zookeeper::{Acl, ErrorCode, Id, perms};
use sha1::{Digest as _, Sha1};

/// Who a connection is: its address first, then what it has authenticated as.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) ids: Vec<Id>,
    /// Set for super, and for everybody under `skipACL`.
    pub(crate) unlimited: bool,
}

/// Ids a connection may collect; more auth requests fail.
const IDS_MAX: usize = 64;

impl Identity {
    pub(crate) fn of_address(address: IpAddr, skip_acl: bool) -> Identity {
        Identity { ids: vec![id("ip", &address.to_string())], unlimited: skip_acl }
    }

    /// Handles an auth request; false where it fails.
    pub(crate) fn authenticate(&mut self, scheme: &str, token: &[u8], super_digest: Option<&str>) -> bool {
        match scheme {
            "digest" => {
                let Ok(token) = std::str::from_utf8(token) else { return false };
                let digest = generate_digest(token);
                if super_digest == Some(digest.as_str()) {
                    self.unlimited = true;
                    self.add(id("super", ""));
                }
                self.add(id("digest", &digest))
            }
            "ip" => true,
            _ => false,
        }
    }

    fn add(&mut self, new: Id) -> bool {
        if !self.ids.contains(&new) {
            if self.ids.len() >= IDS_MAX {
                return false;
            }
            self.ids.push(new);
        }
        true
    }

    /// Whether the ACL gives this connection one of these permissions.
    pub(crate) fn may(&self, acl: &[Acl], wanted: i32) -> bool {
        self.unlimited || acl.is_empty() || acl.iter().any(|entry| entry.perms & wanted != 0 && self.matches(&entry.id))
    }

    pub(crate) fn check(&self, acl: &[Acl], wanted: i32) -> Result<(), ErrorCode> {
        if self.may(acl, wanted) { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn matches(&self, wanted: &Id) -> bool {
        if is_anyone(wanted) {
            return true;
        }
        self.ids.iter().any(|own| {
            own.scheme == wanted.scheme
                && match own.scheme.as_str() {
                    "ip" => own.id.parse().is_ok_and(|address| network_holds(&wanted.id, address)),
                    _ => own.id == wanted.id,
                }
        })
    }

    /// The list as it is stored: `auth` becomes the connection's own ids, duplicates go, unknown schemes are refused.
    pub(crate) fn resolve(&self, acl: &[Acl]) -> Result<Vec<Acl>, ErrorCode> {
        let mut resolved: Vec<Acl> = Vec::with_capacity(acl.len());
        let mut add = |entry: Acl| {
            if !resolved.contains(&entry) {
                resolved.push(entry);
            }
        };
        for entry in acl {
            match entry.id.scheme.as_str() {
                _ if is_anyone(&entry.id) => add(entry.clone()),
                "auth" => {
                    let own: Vec<&Id> = self.ids.iter().filter(|own| own.scheme == "digest").collect();
                    if own.is_empty() {
                        return Err(ErrorCode::InvalidAcl);
                    }
                    own.into_iter().for_each(|own| add(Acl { perms: entry.perms, id: own.clone() }));
                }
                "digest" if entry.id.id.split(':').count() == 2 => add(entry.clone()),
                "ip" if parse_network(&entry.id.id).is_some() => add(entry.clone()),
                _ => return Err(ErrorCode::InvalidAcl),
            }
        }
        if resolved.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(resolved) }
    }
}

/// The list as one without ADMIN sees it: digests hidden.
pub(crate) fn without_digests(acl: &[Acl]) -> Vec<Acl> {
    acl.iter()
        .map(|entry| match entry.id.scheme.as_str() {
            "digest" => {
                let user = entry.id.id.split(':').next().unwrap_or_default();
                Acl { perms: entry.perms, id: id("digest", &format!("{user}:x")) }
            }
            _ => entry.clone(),
        })
        .collect()
}

/// Name of the user behind an id, for whoAmI.
pub(crate) fn user_name(id: &Id) -> &str {
    match id.scheme.as_str() {
        "digest" => id.id.split(':').next().unwrap_or_default(),
        _ => &id.id,
    }
}

/// `user:base64(sha1(user:password))` (`DigestAuthenticationProvider.generateDigest`).
pub(crate) fn generate_digest(user_and_password: &str) -> String {
    let user = user_and_password.split(':').next().unwrap_or_default();
    format!("{user}:{}", STANDARD.encode(Sha1::digest(user_and_password.as_bytes())))
}

/// `/zookeeper/config` is for reading only.
pub(crate) fn world_readable() -> Vec<Acl> {
    vec![Acl::world(perms::READ)]
}

fn id(scheme: &str, id: &str) -> Id {
    Id { scheme: scheme.to_owned(), id: id.to_owned() }
}

fn is_anyone(id: &Id) -> bool {
    id.scheme == "world" && id.id == "anyone"
}

/// `address` or `address/bits`.
fn parse_network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(width), |bits| bits.parse().ok())?;
    (bits <= width).then_some((address, bits))
}

fn network_holds(network: &str, address: IpAddr) -> bool {
    match (parse_network(network), address) {
        (Some((IpAddr::V4(network), bits)), IpAddr::V4(address)) => {
            u32::from(network).checked_shr(32 - bits).unwrap_or(0)
                == u32::from(address).checked_shr(32 - bits).unwrap_or(0)
        }
        (Some((IpAddr::V6(network), bits)), IpAddr::V6(address)) => {
            u128::from(network).checked_shr(128 - bits).unwrap_or(0)
                == u128::from(address).checked_shr(128 - bits).unwrap_or(0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(perms: i32, scheme: &str, name: &str) -> Acl {
        Acl { perms, id: id(scheme, name) }
    }

    #[test]
    fn digests_are_zookeepers() {
        assert_eq!(generate_digest("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    }

    #[test]
    fn permissions_follow_scheme_and_id() {
        let mut who = Identity::of_address("10.1.2.3".parse().unwrap(), false);
        assert!(who.authenticate("digest", b"u:p", None));
        assert!(!who.authenticate("sasl", b"", None));
        let digest = generate_digest("u:p");
        let check = |entry: Acl, wanted: i32, expected: bool| {
            assert_eq!(who.may(std::slice::from_ref(&entry), wanted), expected, "{entry:?}")
        };
        check(acl(perms::READ, "world", "anyone"), perms::READ, true);
        check(acl(perms::READ, "world", "anyone"), perms::WRITE, false);
        check(acl(perms::ALL, "digest", &digest), perms::ADMIN, true);
        check(acl(perms::ALL, "digest", "u:other"), perms::READ, false);
        check(acl(perms::ALL, "ip", "10.1.2.3"), perms::READ, true);
        check(acl(perms::ALL, "ip", "10.1.0.0/16"), perms::READ, true);
        check(acl(perms::ALL, "ip", "10.2.0.0/16"), perms::READ, false);
        check(acl(perms::ALL, "ip", "0.0.0.0/0"), perms::READ, true);
        check(acl(perms::ALL, "ip", "::/0"), perms::READ, false);
    }

    #[test]
    fn lists_are_resolved_before_they_are_stored() {
        let mut who = Identity::of_address("10.1.2.3".parse().unwrap(), false);
        let check = |who: &Identity, list: &[Acl], expected: Result<usize, ErrorCode>| {
            assert_eq!(who.resolve(list).map(|resolved| resolved.len()), expected, "{list:?}");
        };
        check(&who, &[], Err(ErrorCode::InvalidAcl));
        check(&who, &[acl(31, "auth", "")], Err(ErrorCode::InvalidAcl));
        check(&who, &[acl(31, "world", "me")], Err(ErrorCode::InvalidAcl));
        check(&who, &[acl(31, "digest", "nocolon")], Err(ErrorCode::InvalidAcl));
        check(&who, &[acl(31, "ip", "10.0.0.0/33")], Err(ErrorCode::InvalidAcl));
        check(&who, &[acl(31, "kerberos", "me")], Err(ErrorCode::InvalidAcl));
        check(&who, &[acl(1, "world", "anyone"), acl(1, "world", "anyone"), acl(31, "ip", "::1")], Ok(2));
        who.authenticate("digest", b"u:p", None);
        who.authenticate("digest", b"v:p", None);
        check(&who, &[acl(31, "auth", "")], Ok(2));
    }

    #[test]
    fn super_may_do_everything() {
        let mut who = Identity::of_address("::1".parse().unwrap(), false);
        assert!(!who.may(&[acl(31, "digest", "a:b")], perms::READ));
        who.authenticate("digest", b"super:test", Some(&generate_digest("super:test")));
        assert!(who.may(&[acl(31, "digest", "a:b")], perms::READ));
    }

    #[test]
    fn digests_are_hidden_from_those_without_admin() {
        assert_eq!(
            without_digests(&[acl(1, "digest", "u:hash"), acl(1, "ip", "::1")]),
            [acl(1, "digest", "u:x"), acl(1, "ip", "::1")]
        );
    }
}
