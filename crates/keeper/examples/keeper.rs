//! Runs a keeper alone: `keeper FILE`, where FILE is a zookeeper.properties. Prints the address it serves on stdout; Ctrl-C stops it cleanly, and any other end is recovered from.

use std::path::Path;
use std::process::ExitCode;

use tidemill_keeper::{Keeper, KeeperConfig, KeeperError};

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: keeper zookeeper.properties");
        return ExitCode::from(2);
    };
    match serve(Path::new(&file)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            error.cause().iter().for_each(|cause| eprintln!("cause: {cause}"));
            error.help().iter().for_each(|help| eprintln!("help: {help}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(file: &Path) -> Result<(), KeeperError> {
    let keeper = Keeper::start(KeeperConfig::from_properties(file)?)?;
    println!("{}", keeper.local_addr());
    let runtime =
        runtime::spawn::current_thread().map_err(|source| KeeperError::Start { what: "event loop", source })?;
    runtime.block_on(async {
        tokio::select! {
            biased;
            () = keeper.ended() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        keeper.shutdown().await
    })
}
