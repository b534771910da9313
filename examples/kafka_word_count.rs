//! Counts words of lines that arrive on a Kafka topic, second by second; what it does is counted on http://127.0.0.1:4040/metrics:
//!
//! ```text
//! cargo run --release --example kafka_word_count -- localhost:2181 wordsendertest
//! bin/kafka-console-producer.sh --broker-list localhost:9092 --topic wordsendertest
//! ```

use std::process::exit;
use std::time::Duration;

use console::job::{JobUi, Settings};
use streaming::{SparkContext, StreamingContext, StreamingError, kafka};

fn main() -> Result<(), StreamingError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [zk_quorum, topic] = &arguments[..] else {
        eprintln!("Usage: kafka_word_count <zk> <topic>");
        exit(2);
    };
    let sc = SparkContext::new("local[*]", "StreamingKafkaWordCount")?;
    let ssc = StreamingContext::new(&sc, Duration::from_secs(1))?;

    let messages = kafka::create_stream(&ssc, zk_quorum, "spark-streaming-consumer", &[(topic.clone(), 1)], &[])?;
    let words = messages.text().flat_map(|line| line.split(' '));
    let counts = words.map(|word| (word, 1)).reduce_by_key(|a, b| a + b);
    counts.print();

    let _ui = JobUi::serve(&ssc, &Settings::default(), "local-word-count");
    ssc.start()?;
    ssc.await_termination()
}
