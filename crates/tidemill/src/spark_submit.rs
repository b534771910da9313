//! `spark-submit`: runs a PySpark script on our engine, with the options people pass.
//!
//! The script runs in an ordinary Python interpreter that finds our `pyspark` package first. What Spark would hand to its JVM as properties
//! travels as one JSON object in the environment ([`CONF_VARIABLE`]); options that mean nothing without a cluster are taken and named once.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::failure::Failure;

/// JSON object of Spark properties for the Python package: `{"spark.app.name": "..."}`.
const CONF_VARIABLE: &str = "TIDEMILL_SPARK_CONF";
/// Path of the built extension, for the Python package.
const NATIVE_VARIABLE: &str = "TIDEMILL_NATIVE";

const USAGE: &str = "\
Usage: spark-submit [options] <python file> [app arguments]

Options:
  --master MASTER_URL         local, local[N] or local[*] (default: local[*])
  --name NAME                 name of the application
  --conf, -c PROP=VALUE       a Spark property
  --properties-file FILE      a file of Spark properties
  --py-files FILES            comma-separated .py, .zip and .egg files to put on the import path
  --files FILES               comma-separated files for SparkFiles.get
  --verbose, -v               say what is run
  --version                   print the version
  --help, -h                  print this help

Taken and ignored, because there is no JVM and no cluster here: --packages, --jars, --repositories, --exclude-packages, --class, --deploy-mode,
--driver-memory, --driver-cores, --driver-class-path, --driver-java-options, --driver-library-path, --executor-memory, --executor-cores,
--total-executor-cores, --num-executors, --queue, --archives, --principal, --keytab, --proxy-user, --supervise
";

/// Options with a value that mean nothing here.
const WITHOUT_MEANING: &[&str] = &[
    "--packages",
    "--jars",
    "--repositories",
    "--exclude-packages",
    "--class",
    "--deploy-mode",
    "--driver-memory",
    "--driver-cores",
    "--driver-class-path",
    "--driver-java-options",
    "--driver-library-path",
    "--executor-memory",
    "--executor-cores",
    "--total-executor-cores",
    "--num-executors",
    "--queue",
    "--archives",
    "--principal",
    "--keytab",
    "--proxy-user",
];

/// A command line, understood.
#[derive(Debug, Default, PartialEq)]
struct Submission {
    conf: Map<String, Value>,
    py_files: Vec<String>,
    script: String,
    arguments: Vec<String>,
    ignored: Vec<String>,
    verbose: bool,
}

/// Runs the script; on success it never returns, because the process becomes Python.
pub fn run(words: &[String]) -> Result<(), Failure> {
    match words.first().map(String::as_str) {
        None | Some("--help" | "-h") => {
            print!("{USAGE}");
            return Ok(());
        }
        Some("--version") => {
            println!("tidemill {} (API of Spark Streaming 2.4)", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        Some(_) => {}
    }
    let submission = understand(words)?;
    if !submission.ignored.is_empty() {
        eprintln!("note: without meaning here and ignored: {}", submission.ignored.join(" "));
    }
    if !Path::new(&submission.script).is_file() {
        return Err(Failure::verbatim(format!(
            "python3: can't open file '{}': [Errno 2] No such file or directory",
            submission.script
        ))
        .help("spark-submit SCRIPT.py [arguments]; options go before the script"));
    }
    let package = package_folder()?;
    let native = native_library(&package)?;
    let chosen = std::env::var_os("PYSPARK_DRIVER_PYTHON").or_else(|| std::env::var_os("PYSPARK_PYTHON"));
    let of_wheel = interpreter_beside(&package);
    // The interpreter that the wheel was installed for finds the package by itself, and its other packages must not hide the standard library.
    let path_of_package = chosen.is_some() || of_wheel.is_none();
    let python = chosen.or(of_wheel).unwrap_or_else(|| OsString::from("python3"));
    if submission.verbose {
        eprintln!("python {} with {} and {}", python.to_string_lossy(), package.display(), native.display());
    }
    let error = Command::new(&python)
        .arg(&submission.script)
        .args(&submission.arguments)
        .env("PYTHONPATH", import_path(&submission, &package, path_of_package))
        // Strings find the same partition in every run, as under Spark's own spark-submit.
        .env("PYTHONHASHSEED", std::env::var_os("PYTHONHASHSEED").unwrap_or_else(|| "0".into()))
        .env(CONF_VARIABLE, Value::Object(submission.conf).to_string())
        .env(NATIVE_VARIABLE, &native)
        .exec();
    Err(Failure::new(format!("cannot run {}", python.to_string_lossy()))
        .cause(error)
        .help("set PYSPARK_PYTHON to a Python 3.9 or newer"))
}

/// Spark's rule: options, then the script, then everything else belongs to the script.
fn understand(words: &[String]) -> Result<Submission, Failure> {
    let mut submission = Submission::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (option, inline) = match word.split_once('=') {
            Some((option, value)) if word.starts_with("--") => (option, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || {
            let missing =
                || Failure::usage(format!("Missing argument for option '{option}'")).help("spark-submit --help");
            inline.clone().or_else(|| words.next().cloned()).ok_or_else(missing)
        };
        match option {
            "--master" => {
                let master = value()?;
                check_master(&master)?;
                set(&mut submission.conf, "spark.master", master);
            }
            "--name" => set(&mut submission.conf, "spark.app.name", value()?),
            "--conf" | "-c" => {
                let pair = value()?;
                let (key, value) =
                    pair.split_once('=').ok_or_else(|| Failure::usage(format!("Spark config without '=': {pair}")))?;
                set(&mut submission.conf, key.trim(), value.trim().to_owned());
            }
            "--properties-file" => read_properties(Path::new(&value()?), &mut submission.conf)?,
            "--py-files" => {
                submission.py_files = value()?.split(',').filter(|file| !file.is_empty()).map(str::to_owned).collect()
            }
            "--files" => set(&mut submission.conf, "spark.files", value()?),
            "--verbose" | "-v" => submission.verbose = true,
            "--supervise" => submission.ignored.push(option.to_owned()),
            _ if WITHOUT_MEANING.contains(&option) => submission.ignored.push(format!("{option} {}", value()?)),
            _ if word.starts_with('-') => {
                return Err(Failure::usage(format!("Unrecognized option: {word}")).help("spark-submit --help"));
            }
            _ => {
                submission.script = word.clone();
                submission.arguments = words.cloned().collect();
                break;
            }
        }
    }
    if submission.script.is_empty() {
        return Err(Failure::usage("Missing application resource.").help("spark-submit SCRIPT.py [arguments]"));
    }
    Ok(submission)
}

fn set(conf: &mut Map<String, Value>, key: &str, value: String) {
    conf.insert(key.to_owned(), Value::String(value));
}

fn check_master(master: &str) -> Result<(), Failure> {
    if master == "local" || (master.starts_with("local[") && master.ends_with(']')) {
        return Ok(());
    }
    Err(Failure::usage(format!("--master {master} is not served by this engine"))
        .cause("jobs run in this process; handing a script to a real Spark cluster is not built yet")
        .help("spark-submit --master 'local[*]' SCRIPT.py"))
}

/// Spark's properties files: `key value` or `key=value` a line.
fn read_properties(path: &Path, conf: &mut Map<String, Value>) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("cannot read {}", path.display())).cause(error))?;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(['=', ' ', '\t']).unwrap_or((line, ""));
        // What is said on the command line wins over the file.
        if !conf.contains_key(key) {
            set(conf, key, value.trim().to_owned());
        }
    }
    Ok(())
}

/// Our package first, then the script's `--py-files`, then what the user had.
fn import_path(submission: &Submission, package: &Path, with_package: bool) -> OsString {
    let mut folders = vec![package.join("tidemill/shim")];
    folders.extend(with_package.then(|| package.to_path_buf()));
    folders.extend(submission.py_files.iter().map(PathBuf::from));
    if let Some(before) = std::env::var_os("PYTHONPATH") {
        folders.extend(std::env::split_paths(&before));
    }
    std::env::join_paths(folders).unwrap_or_else(|_| package.into())
}

/// The folder that holds our Python package: `python/` of the checkout this program was built in, or of the folder it was laid out in, or
/// the packages of the Python environment in whose `bin` a wheel put this program.
fn package_folder() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe().and_then(|path| path.canonicalize());
    let program = program.map_err(|error| Failure::new("cannot find this program").cause(error))?;
    let above = program.ancestors().map(|folder| folder.join("python"));
    let built_in = std::iter::once(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python"));
    let installed = program.ancestors().nth(2).map(packages_below).unwrap_or_default();
    above
        .chain(installed)
        .chain(built_in)
        .find(|folder| folder.join("tidemill/shim/pyspark/streaming/kafka.py").is_file())
        .ok_or_else(|| {
            Failure::new("the Python package is not where it should be")
                .cause(format!("no python/tidemill beside or above {}", program.display()))
                .help("run spark-submit from the checkout's bin/, or `tidemill layout DIR` from there")
        })
}

/// `lib/python3.*/{site,dist}-packages` of a Python environment.
fn packages_below(environment: &Path) -> Vec<PathBuf> {
    let Ok(versions) = std::fs::read_dir(environment.join("lib")) else { return Vec::new() };
    let pythons = versions.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    pythons.flat_map(|python| ["site-packages", "dist-packages"].map(|name| python.path().join(name))).collect()
}

/// The interpreter of the environment that these packages belong to, where they are those of an environment.
fn interpreter_beside(package: &Path) -> Option<OsString> {
    let name = package.file_name()?.to_str()?;
    let version = package.parent()?.file_name()?;
    let interpreter = package.ancestors().nth(3)?.join("bin").join(version);
    (name.ends_with("-packages") && interpreter.is_file()).then(|| interpreter.into())
}

/// The built extension; built now where this is a checkout and nobody built it yet.
fn native_library(package: &Path) -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os(NATIVE_VARIABLE) {
        return Ok(path.into());
    }
    let program = std::env::current_exe().and_then(|path| path.canonicalize());
    let folder = program.ok().and_then(|path| path.parent().map(Path::to_path_buf)).unwrap_or_default();
    let library = folder.join("lib_tidemill.so");
    let in_package = ["lib_tidemill.so", "_tidemill.abi3.so"].map(|name| package.join("tidemill").join(name));
    for candidate in std::iter::once(library.clone()).chain(in_package) {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    let checkout = package.parent().unwrap_or(package);
    if !checkout.join("Cargo.toml").is_file() {
        return Err(Failure::new("the Python extension is missing").cause(format!("no {}", library.display())));
    }
    eprintln!("building the Python extension once (cargo build --release -p tidemill-python) ...");
    let target = folder.parent().unwrap_or(&folder);
    let built = Command::new("cargo")
        .args(["build", "--release", "--quiet", "-p", "tidemill-python", "--manifest-path"])
        .arg(checkout.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let library = target.join("release/lib_tidemill.so");
    match built {
        Ok(status) if status.success() && library.is_file() => Ok(library),
        Ok(status) => Err(Failure::new("the Python extension did not build")
            .cause(status)
            .help("cargo build --release -p tidemill-python")),
        Err(error) => Err(Failure::new("cannot run cargo to build the Python extension").cause(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Submission {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        understand(&words).unwrap()
    }

    #[test]
    fn the_tutorials_command_line() {
        let submission = check("KafkaWordCount.py localhost:2181 wordsendertest");
        assert_eq!(submission.script, "KafkaWordCount.py");
        assert_eq!(submission.arguments, ["localhost:2181", "wordsendertest"]);
        assert!(submission.ignored.is_empty());
    }

    #[test]
    fn options_before_the_script_are_ours_and_after_it_the_scripts() {
        let submission =
            check("--master local[*] --name n --conf spark.a=b=c --packages p:q --jars=x.jar s.py --name theirs");
        assert_eq!(submission.conf["spark.master"], "local[*]");
        assert_eq!(submission.conf["spark.app.name"], "n");
        assert_eq!(submission.conf["spark.a"], "b=c");
        assert_eq!(submission.ignored, ["--packages p:q", "--jars x.jar"]);
        assert_eq!(submission.arguments, ["--name", "theirs"]);
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in ["", "--nonsense s.py", "--conf nothing s.py", "--master", "--master spark://h:7077 s.py"] {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert!(understand(&words).is_err(), "{line}");
        }
    }
}
