//! DescribeClientQuotas, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeClientQuotas: DescribeClientQuotasRequest => DescribeClientQuotasResponse, versions 0..=1, flexible 1..;

    struct DescribeClientQuotasRequest {
        components: Vec<ComponentData>, versions 0..;
        strict: bool, versions 0..;
    }

    struct ComponentData {
        entity_type: Str, versions 0..;
        match_type: i8, versions 0..;
        _match: Option<Str> = Some(Default::default()), versions 0..;
    }

    struct DescribeClientQuotasResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        entries: Option<Vec<EntryData>> = Some(Default::default()), versions 0..;
    }

    struct EntryData {
        entity: Vec<EntityData>, versions 0..;
        values: Vec<ValueData>, versions 0..;
    }

    struct EntityData {
        entity_type: Str, versions 0..;
        entity_name: Option<Str> = Some(Default::default()), versions 0..;
    }

    struct ValueData {
        key: Str, versions 0..;
        value: f64, versions 0..;
    }
}
