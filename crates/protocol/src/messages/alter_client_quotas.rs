//! AlterClientQuotas: changes quotas of users, clients and addresses (KIP-546).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AlterClientQuotas: AlterClientQuotasRequest => AlterClientQuotasResponse, versions 0..=1, flexible 1..;

    /// What is asked.
    struct AlterClientQuotasRequest {
        entries: Vec<EntryData>, versions 0..;
        /// Check, but change nothing.
        validate_only: bool, versions 0..;
    }

    /// Changes for one entity.
    struct EntryData {
        entity: Vec<EntityData>, versions 0..;
        ops: Vec<OpData>, versions 0..;
    }

    /// One part of an entity, such as its user.
    struct EntityData {
        /// `user`, `client-id` or `ip`.
        entity_type: Str, versions 0..;
        /// None is the default entity.
        entity_name: Option<Str> = Some(Default::default()), versions 0..;
    }

    /// A change of one quota.
    struct OpData {
        key: Str, versions 0..;
        value: f64, versions 0..;
        remove: bool, versions 0..;
    }

    /// What is answered.
    struct AlterClientQuotasResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        entries: Vec<EntryResult>, versions 0..;
    }

    /// Outcome for one entity. (Kafka's schema calls it EntryData too.)
    struct EntryResult {
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        entity: Vec<EntityData>, versions 0..;
    }
}
