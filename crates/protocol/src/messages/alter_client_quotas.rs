//! AlterClientQuotas, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AlterClientQuotas: AlterClientQuotasRequest => AlterClientQuotasResponse, versions 0..=1, flexible 1..;

    struct AlterClientQuotasRequest {
        entries: Vec<EntryData>, versions 0..;
        validate_only: bool, versions 0..;
    }

    struct EntryData {
        entity: Vec<EntityData>, versions 0..;
        ops: Vec<OpData>, versions 0..;
    }

    struct EntityData {
        entity_type: Str, versions 0..;
        entity_name: Option<Str> = Some(Default::default()), versions 0..;
    }

    struct OpData {
        key: Str, versions 0..;
        value: f64, versions 0..;
        remove: bool, versions 0..;
    }

    struct AlterClientQuotasResponse {
        throttle_time_ms: i32, versions 0..;
        entries: Vec<EntryResult>, versions 0..;
    }

    struct EntryResult {
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        entity: Vec<EntityData>, versions 0..;
    }
}
