//! DescribeClientQuotas: reads quotas of users, clients and addresses (KIP-546).

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeClientQuotas: DescribeClientQuotasRequest => DescribeClientQuotasResponse, versions 0..=1, flexible 1..;

    /// What is asked.
    struct DescribeClientQuotasRequest {
        components: Vec<ComponentData>, versions 0..;
        /// Leave out entities with types not named in the filter.
        strict: bool, versions 0..;
    }

    /// A filter on one entity type.
    struct ComponentData {
        /// `user`, `client-id` or `ip`.
        entity_type: Str, versions 0..;
        /// 0 exactly `match`, 1 the default entity, 2 any named entity.
        match_type: i8, versions 0..;
        r#match: Option<Str> = Some(Default::default()), versions 0..;
    }

    /// What is answered.
    struct DescribeClientQuotasResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        entries: Option<Vec<EntryData>> = Some(Default::default()), versions 0..;
    }

    /// An entity and its quotas.
    struct EntryData {
        entity: Vec<EntityData>, versions 0..;
        values: Vec<ValueData>, versions 0..;
    }

    /// One part of an entity, such as its user.
    struct EntityData {
        /// `user`, `client-id` or `ip`.
        entity_type: Str, versions 0..;
        /// None is the default entity.
        entity_name: Option<Str> = Some(Default::default()), versions 0..;
    }

    /// A quota.
    struct ValueData {
        key: Str, versions 0..;
        value: f64, versions 0..;
    }
}
