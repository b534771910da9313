//! One member of a group.

use std::sync::Arc;

use bytes::Bytes;
use protocol::messages::join_group::JoinGroupRequestProtocol;

use crate::config::PROTOCOLS_MAX;
use crate::event::Token;
use crate::record::MemberValue;

/// An assignor that a member supports, with what the member tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignor {
    /// Its name.
    pub name: Arc<str>,
    /// For consumers: the subscription.
    pub metadata: Bytes,
}

/// A request that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter {
    /// Which one.
    pub token: Token,
    /// Version of its API, for the shape of the answer.
    pub version: i16,
}

/// One member of a group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its id; a static member gets a new one whenever it starts anew.
    pub id: Arc<str>,
    /// Name of a static member (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// Name its client gives itself.
    pub client_id: Arc<str>,
    /// Where it connects from.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Assignors by preference; never two of a name.
    pub assignors: Vec<Assignor>,
    /// What the leader gave it.
    pub assignment: Bytes,
    /// Its JoinGroup, while it waits.
    pub joining: Option<Waiter>,
    /// Its SyncGroup, while it waits.
    pub syncing: Option<Waiter>,
    /// It has not been in a generation yet: its session timeout does not hold, because it cannot send heartbeats.
    pub is_new: bool,
}

impl Member {
    /// Whether its silence is expected: it waits for us.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        (self.joining.is_some() && !self.is_new) || self.syncing.is_some()
    }

    /// What it tells an assignor.
    #[must_use]
    pub fn metadata(&self, assignor: &str) -> Option<&Bytes> {
        self.assignors.iter().find(|own| &*own.name == assignor).map(|own| &own.metadata)
    }

    /// As the group's record keeps it.
    #[must_use]
    pub fn to_value(&self, assignor: Option<&str>, assignment: Bytes) -> MemberValue {
        MemberValue {
            member_id: self.id.clone(),
            group_instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: assignor.and_then(|assignor| self.metadata(assignor)).cloned().unwrap_or_default(),
            assignment,
        }
    }

    /// As a group's record describes it. Its subscription is known for the chosen assignor only.
    #[must_use]
    pub fn from_value(value: MemberValue, assignor: Option<&Arc<str>>) -> Member {
        let metadata = Bytes::copy_from_slice(&value.subscription);
        Member {
            id: value.member_id,
            instance_id: value.group_instance_id,
            client_id: value.client_id,
            client_host: value.client_host,
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            session_timeout_ms: value.session_timeout_ms,
            assignors: assignor.map(|name| Assignor { name: name.clone(), metadata }).into_iter().collect(),
            assignment: Bytes::copy_from_slice(&value.assignment),
            joining: None,
            syncing: None,
            is_new: false,
        }
    }
}

/// The assignors of a JoinGroup. Their bytes are copied: a member lives longer than the request's frame should.
#[must_use]
pub fn assignors(protocols: &[JoinGroupRequestProtocol]) -> Vec<Assignor> {
    let mut assignors: Vec<Assignor> = Vec::with_capacity(protocols.len().min(PROTOCOLS_MAX));
    for protocol in protocols.iter().take(PROTOCOLS_MAX) {
        if !assignors.iter().any(|known| *known.name == *protocol.name) {
            let metadata = Bytes::copy_from_slice(&protocol.metadata);
            assignors.push(Assignor { name: Arc::from(&*protocol.name), metadata });
        }
    }
    assignors
}
