//! What is said, once, to someone whose job waits for records that cannot come: no broker is there, or the topic is not.
//!
//! It goes to stderr and changes nothing; where it cannot find out, it keeps still.

use std::time::Duration;

use client::kafka::similar::did_you_mean;
use client::zookeeper_consumer::ZookeeperConsumer;
use runtime::Clock;

use crate::notes::Notes;

/// Wait before anything is said: a topic that is made together with the job is there by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longest time spent on finding out.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Says what is missing of `topics`, below the ZooKeeper at `location`.
pub(super) async fn note_missing(consumer: &ZookeeperConsumer, topics: &[String], location: &str, user: &Notes) {
    let clock = Clock::real();
    clock.sleep(PATIENCE).await;
    let Some(reader) = consumer.reader() else {
        user.say(&format!(
            "note: no broker is registered under /brokers/ids in ZooKeeper {location}; records come once one is started"
        ));
        return;
    };
    let deadline = clock.now() + LOOK_MAX;
    let Ok(Ok(metadata)) = tokio::time::timeout_at(deadline, reader.cluster().refresh_all()).await else { return };
    let there: Vec<&str> = metadata.topics.keys().map(AsRef::as_ref).collect();
    for note in notes(topics, &there) {
        user.say(&note);
    }
}

fn notes(topics: &[String], there: &[&str]) -> Vec<String> {
    let missing = topics.iter().filter(|topic| !there.contains(&topic.as_str()));
    let note = |topic: &String| {
        format!("note: topic \"{topic}\" does not exist{}", did_you_mean(topic, there.iter().copied()))
    };
    missing.map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_topic_is_named_with_what_was_probably_meant() {
        let check = |topics: &[&str], expected: &[&str]| {
            let topics: Vec<String> = topics.iter().map(ToString::to_string).collect();
            assert_eq!(notes(&topics, &["wordsendertest", "other"]), expected, "{topics:?}");
        };
        check(&["wordsendertest"], &[]);
        check(
            &["wordsendertset", "other"],
            &["note: topic \"wordsendertset\" does not exist; did you mean \"wordsendertest\"?"],
        );
        check(&["nothing-like-it"], &["note: topic \"nothing-like-it\" does not exist"]);
    }
}
