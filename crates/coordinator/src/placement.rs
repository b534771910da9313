//! Which partition of `__consumer_offsets` keeps a group. All brokers and tools must agree on it for ever, so it is Java's `String.hashCode`.

/// The partition of `__consumer_offsets` (which has `partitions` of them) that keeps a group: `Utils.abs(group.hashCode) % partitions`.
///
/// # Panics
/// When `partitions` is not positive.
#[must_use]
pub fn partition_for(group: &str, partitions: i32) -> i32 {
    assert!(partitions > 0, "__consumer_offsets has at least one partition");
    // Kafka's `Utils.abs` makes 0 of the one number that has no positive counterpart.
    java_hash(group).checked_abs().unwrap_or(0) % partitions
}

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        for (text, expected) in
            [("", 0), ("a", 97), ("hello", 99_162_322), ("polygenelubricants", i32::MIN), ("ä€😀", 16_603_051)]
        {
            assert_eq!(java_hash(text), expected, "{text:?}");
        }
    }

    #[test]
    fn groups_land_where_kafka_puts_them() {
        assert_eq!(partition_for("hello", 50), 22);
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("anything", 1), 0);
    }
}
