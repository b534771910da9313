//! `tidemill layout DIR`: a folder shaped like the unpacked Kafka tarball, so that a tutorial's `/usr/local/kafka` steps work.
//!
//! `bin/` holds the commands and the program itself, `config/` the properties files, `python/` the package of `spark-submit`, and `libs/` a note: there are no jars to copy,
//! but `cp libs/* .` does no harm.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

const NOTE: &str = "\
There are no jars here. Tidemill is one program without a JVM: bin/ holds it, and bin/spark-submit finds its
Kafka support by itself. Copying this folder's contents to where a tutorial wants the jars does no harm.
";

/// Writes the folder named by the one word.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let [directory] = words else {
        return Err(Failure::usage("layout takes the folder to write").help("bin/tidemill layout kafka"));
    };
    if directory == "--help" || directory == "-h" {
        println!(
            "Usage: tidemill layout DIR\n\nWrites a folder shaped like the unpacked Kafka tarball: bin, config, libs, python."
        );
        return Ok(());
    }
    let target = PathBuf::from(directory);
    if target.exists() && fs::read_dir(&target).map_or(true, |mut entries| entries.next().is_some()) {
        return Err(Failure::new(format!("{directory} is there already and not empty"))
            .help(format!("bin/tidemill layout {directory}-2")));
    }
    let source = source_folder()?;
    write(&source, &target).map_err(|error| Failure::new(format!("cannot write {directory}")).cause(error))?;
    eprintln!("wrote {}", target.canonicalize().unwrap_or(target).display());
    eprintln!("next: cd {directory} && ./bin/zookeeper-server-start.sh config/zookeeper.properties");
    Ok(())
}

/// Where `bin/`, `config/` and `python/` come from: the checkout or the layout this program belongs to.
fn source_folder() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().and_then(|path| path.canonicalize());
    let program = program.map_err(|error| Failure::new("cannot find this program").cause(error))?;
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let above = program.ancestors().map(Path::to_path_buf).chain(std::iter::once(built_in));
    above
        .into_iter()
        .find(|folder| {
            folder.join("bin/kafka-topics.sh").is_file() && folder.join("config/server.properties").is_file()
        })
        .ok_or_else(|| {
            Failure::new("cannot find the commands to lay out")
                .cause(format!("no bin/ and config/ above {}", program.display()))
                .help("run it from the checkout: bin/tidemill layout DIR")
        })
}

fn write(source: &Path, target: &Path) -> std::io::Result<()> {
    for folder in ["bin", "config", "libs"] {
        fs::create_dir_all(target.join(folder))?;
    }
    copy_folder(&source.join("config"), &target.join("config"), &|_| true)?;
    copy_folder(&source.join("bin"), &target.join("bin"), &|name| name != "tidemill")?;
    copy_folder(&source.join("python"), &target.join("python"), &|name| name != "__pycache__" && name != "tests")?;
    let program = std::env::current_exe()?;
    let binary = target.join("bin/tidemill");
    fs::copy(&program, &binary)?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    let native = program.canonicalize()?.with_file_name("lib_tidemill.so");
    if native.is_file() {
        fs::copy(native, target.join("bin/lib_tidemill.so"))?;
    }
    fs::write(target.join("libs/NOTE.txt"), NOTE)?;
    fs::write(target.join("LICENSE"), include_str!("../../../LICENSE"))
}

fn copy_folder(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !wanted(&name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to.join(&name), wanted)?;
        } else {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}
