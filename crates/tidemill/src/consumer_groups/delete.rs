//! `--delete` and `--delete-offsets`.

use client::kafka::admin::Admin;

use super::{Options, groups as wanted_groups, partitions, table, usage};
use crate::failure::Failure;

/// `--delete`.
pub async fn groups(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let groups = wanted_groups(admin, options).await?;
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for (group, result) in admin.delete_groups(&names).await? {
        match result {
            Ok(()) => deleted.push(format!("'{group}'")),
            Err(error) => failed.push(format!("* Group '{group}' could not be deleted due to: {error}")),
        }
    }
    let deleted = deleted.join(", ");
    if failed.is_empty() {
        println!("Deletion of requested consumer groups ({deleted}) was successful.");
        return Ok(());
    }
    eprintln!("\nError: Deletion of some consumer groups failed:");
    failed.iter().for_each(|line| eprintln!("{line}"));
    if !deleted.is_empty() {
        println!("\nThese consumer groups were deleted successfully: {deleted}");
    }
    Err(Failure::silent(1))
}

/// `--delete-offsets`.
pub async fn offsets(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let ([group], false) = (&options.group[..], options.topic.is_empty()) else {
        return Err(usage("Option [delete-offsets] takes the following options: [group], [topic]"));
    };
    let results = admin.delete_group_offsets(group, &partitions(admin, options).await?).await?;
    let failed = results.iter().any(|(_, result)| result.is_err());
    if failed {
        println!("Encountered some partition-level error, see the follow-up details:");
    } else {
        println!("Request succeed for deleting offsets with topic {} group {group}", options.topic.join(" "));
    }
    let mut rows = vec![["TOPIC", "PARTITION", "STATUS"].map(str::to_owned).to_vec()];
    for (name, result) in results {
        let (topic, number) = name.rsplit_once('-').unwrap_or((&name, ""));
        let status = result.map_or_else(|error| format!("Error: {error}"), |()| "Successful".to_owned());
        rows.push(vec![topic.to_owned(), number.to_owned(), status]);
    }
    print!("\n{}", table(&[30, 15], &rows));
    if failed { Err(Failure::silent(1)) } else { Ok(()) }
}
