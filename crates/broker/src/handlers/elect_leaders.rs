//! ElectLeaders: gives leadership back to preferred replicas, or to whoever is left (KIP-183, KIP-460). Codes are those of Kafka 3.9 with ZooKeeper
//! (`KafkaController.processReplicaLeaderElection`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use protocol::wire::Str;
use replication::election::Election;

use super::RequestContext;
use super::refused::{NOT_CONTROLLER_TEXT, Refused, timeout, tree_error};
use crate::controller::plan::{NotElected, SetState, elect_on_request};
use crate::controller::{Fence, write_states};
use crate::metadata::Image;
use crate::state::BrokerState;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Outcomes by topic and partition; an error for each partition without an election.
type Outcomes = BTreeMap<String, BTreeMap<i32, Result<(), Refused>>>;

/// Elects, and waits until the metadata show the new leaders.
pub async fn handle(
    broker: Arc<BrokerState>,
    _context: RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let deadline = broker.clock.now() + timeout(request.timeout_ms);
    let image = broker.metadata.image();
    let (asked, all) = match &request.topic_partitions {
        Some(topics) => (
            topics.iter().flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic.to_string(), *p))).collect(),
            false,
        ),
        None => (every_partition(&image), true),
    };
    let election = match request.election_type {
        PREFERRED => Election::Preferred,
        UNCLEAN => Election::Unclean,
        other => {
            let why = format!("Unknown election type: {other}");
            return respond(ErrorCode::INVALID_REQUEST, refuse_all(asked, ErrorCode::INVALID_REQUEST, &why));
        }
    };
    let Some(fence) = broker.office.fence() else {
        return respond(ErrorCode::NOT_CONTROLLER, refuse_all(asked, ErrorCode::NOT_CONTROLLER, NOT_CONTROLLER_TEXT));
    };
    let (states, mut outcomes) = plan(&image, asked, election, fence);
    if all {
        // Who asks for all wants to hear of those that needed it only.
        outcomes.values_mut().for_each(|partitions| {
            partitions
                .retain(|_, outcome| !matches!(outcome, Err((code, _)) if *code == ErrorCode::ELECTION_NOT_NEEDED));
        });
    }
    match write_states(&broker.zookeeper.session(), Some(fence), states.clone()).await {
        Ok(_) => {
            let shows = |image: &Image| states.iter().all(|state| is_shown(image, state));
            if broker.metadata.wait_until(broker.clock, deadline, shows).await.is_none() {
                let late = (ErrorCode::REQUEST_TIMED_OUT, "The new leader was not seen in time.".to_owned());
                replace_elected(&mut outcomes, &late);
            }
        }
        Err(error) => replace_elected(&mut outcomes, &tree_error(&error)),
    }
    respond(ErrorCode::NONE, outcomes)
}

fn every_partition(image: &Image) -> BTreeSet<(String, i32)> {
    let topics = image.topics.values();
    topics.flat_map(|topic| topic.partitions.iter().map(|p| (topic.name.to_string(), p.partition))).collect()
}

fn refuse_all(asked: BTreeSet<(String, i32)>, code: ErrorCode, why: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for (topic, partition) in asked {
        outcomes.entry(topic).or_default().insert(partition, Err((code, why.to_owned())));
    }
    outcomes
}

fn plan(image: &Image, asked: BTreeSet<(String, i32)>, election: Election, fence: Fence) -> (Vec<SetState>, Outcomes) {
    let mut states = Vec::new();
    let mut outcomes = Outcomes::new();
    for (name, number) in asked {
        let outcome = elect_one(image, &name, number, election, fence).map(|state| states.push(state));
        outcomes.entry(name).or_default().insert(number, outcome);
    }
    (states, outcomes)
}

fn elect_one(image: &Image, name: &str, number: i32, election: Election, fence: Fence) -> Result<SetState, Refused> {
    let found = image.topic(name).and_then(|topic| Some((topic, topic.partition(number)?)));
    let Some((topic, partition)) = found else {
        return Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "The partition does not exist.".to_owned()));
    };
    if image.deletions.contains(&topic.name) {
        return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, "The topic is being deleted".to_owned()));
    }
    elect_on_request(image, topic, partition, election, fence.epoch).map_err(|why| match (why, election) {
        (NotElected::NotNeeded, _) => {
            (ErrorCode::ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.".to_owned())
        }
        (NotElected::NobodyCan, Election::Preferred) => (
            ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE,
            format!("The preferred leader of {name}-{number} is not alive or not in sync."),
        ),
        (NotElected::NobodyCan, _) => {
            (ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE, format!("No replica of {name}-{number} is alive."))
        }
    })
}

fn is_shown(image: &Image, set: &SetState) -> bool {
    let shown = image.topic(&set.topic).and_then(|topic| topic.partition(set.partition)?.state.as_ref());
    shown.is_none_or(|shown| shown.leader_epoch >= set.state.leader_epoch)
}

fn replace_elected(outcomes: &mut Outcomes, with: &Refused) {
    for outcome in outcomes.values_mut().flat_map(BTreeMap::values_mut).filter(|outcome| outcome.is_ok()) {
        *outcome = Err(with.clone());
    }
}

fn respond(code: ErrorCode, outcomes: Outcomes) -> ElectLeadersResponse {
    let results = outcomes.into_iter().filter(|(_, partitions)| !partitions.is_empty()).map(|(topic, partitions)| {
        let partition_result = partitions.into_iter().map(|(partition_id, outcome)| {
            let (code, message) = match outcome {
                Ok(()) => (ErrorCode::NONE, None),
                Err((code, message)) => (code, Some(Str::from(message))),
            };
            PartitionResult { partition_id, error_code: code.0, error_message: message }
        });
        ReplicaElectionResult { topic: Str::from(topic), partition_result: partition_result.collect() }
    });
    ElectLeadersResponse { error_code: code.0, replica_election_results: results.collect(), ..Default::default() }
}
