//! `tidemill dev stop` and `tidemill dev purge`.

use client::zookeeper::znodes::Controller;
use client::zookeeper::{ConnectString, Session, paths};

use super::cluster::{Cluster, Folder, Role};
use super::process::{self, State};
use super::{PurgeOptions, StopOptions, command, only_one};
use crate::connect;
use crate::failure::Failure;

/// Stops the brokers one after the other, the controller last, then the keeper that they say goodbye to.
pub fn stop(options: &StopOptions) -> Result<(), Failure> {
    let folder = Folder::at(&options.dir)?;
    let none = || Failure::new("there is no cluster to stop").help(command("up", &options.dir));
    let Some(cluster) = folder.read()? else {
        return Err(none().cause(format!("none lies in {}", options.dir.display())));
    };
    let _lock = only_one(&folder, &options.dir)?;
    let mut running = Vec::new();
    for member in &cluster.members {
        match process::state(&folder, member.role) {
            State::Running(pid) => running.push((member.role, pid)),
            State::Gone(pid) => {
                eprintln!("note: process {pid} of {} is gone", member.role);
                process::forget(&folder, member.role);
            }
            State::Stopped => {}
        }
    }
    if running.is_empty() {
        return Err(none().cause(format!("nothing of {} is running", options.dir.display())));
    }
    let controller = connect::block_on(controller(&cluster)).unwrap_or_default();
    running.sort_by_key(|(role, _)| match role {
        Role::Broker(id) => (Some(*id as i32) == controller, *id),
        // Behind them all.
        Role::Keeper => (true, usize::MAX),
    });
    for (role, pid) in running {
        process::stop(&folder, role, pid)?;
        eprintln!("{role} has stopped");
    }
    Ok(())
}

/// The broker that holds `/controller`; nobody waits for a ZooKeeper that does not answer.
async fn controller(cluster: &Cluster) -> Result<Option<i32>, Failure> {
    ConnectString::parse(&cluster.zookeeper)?;
    let session = Session::connect(&cluster.zookeeper, super::status::ASK_WAIT_MAX).await?;
    let data = session.try_get_data(paths::CONTROLLER).await?;
    let controller = data.and_then(|(data, _)| Controller::parse(paths::CONTROLLER, &data).ok());
    session.close().await;
    Ok(controller.map(|controller| controller.broker.0))
}

/// Removes what `up` made, once nothing of it runs.
pub fn purge(options: &PurgeOptions) -> Result<(), Failure> {
    let folder = Folder::at(&options.dir)?;
    let dir = options.dir.display();
    let Some(cluster) = folder.read()? else {
        return Err(Failure::new("there is no cluster to purge")
            .cause(format!("none lies in {dir}"))
            .help(command("up", &options.dir)));
    };
    let _lock = only_one(&folder, &options.dir)?;
    let running: Vec<String> = cluster
        .members
        .iter()
        .filter_map(|member| match process::state(&folder, member.role) {
            State::Running(pid) => Some(format!("{} is process {pid}", member.role)),
            _ => None,
        })
        .collect();
    if !running.is_empty() {
        return Err(Failure::new(format!("the cluster in {dir} is running"))
            .cause(running.join(", "))
            .help(command("stop", &options.dir)));
    }
    folder.remove().map_err(|error| {
        Failure::new(format!("cannot remove all of {dir}")).cause(error).help(format!("ls -l {dir}"))
    })?;
    eprintln!("removed {}", folder.root().display());
    if !cluster.has_keeper() {
        eprintln!("note: its topics are still registered in ZooKeeper at {}", cluster.zookeeper);
    }
    Ok(())
}
