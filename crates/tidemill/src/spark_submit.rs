//! `spark-submit`: runs a PySpark script on our engine, with the options people pass.
//!
//! The script runs in an ordinary Python interpreter that finds our `pyspark` package first. What Spark would hand to its JVM as properties
//! travels as one JSON object in the environment ([`CONF_VARIABLE`]); options that mean nothing without a cluster are taken and named once.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use protocol::spelling;
use runtime::machine::without_number;
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

/// The oldest Python that our package runs on.
const PYTHON_MIN: (u32, u32) = (3, 9);

/// Options with a meaning here.
const OPTIONS: &[&str] =
    &["--master", "--name", "--conf", "--properties-file", "--py-files", "--files", "--verbose", "--version", "--help"];

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
    check_script(&submission.script)?;
    let package = package_folder()?;
    let native = native_library(&package)?;
    let chosen = std::env::var_os("PYSPARK_DRIVER_PYTHON").or_else(|| std::env::var_os("PYSPARK_PYTHON"));
    let of_wheel = interpreter_beside(&package);
    // The interpreter that the wheel was installed for finds the package by itself, and its other packages must not hide the standard library.
    let path_of_package = chosen.is_some() || of_wheel.is_none();
    if let Some(chosen) = &chosen {
        check_python(chosen, &submission)?;
    }
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
        .env(CONF_VARIABLE, Value::Object(submission.conf.clone()).to_string())
        .env(NATIVE_VARIABLE, &native)
        .exec();
    Err(no_python(&python, &error, &submission))
}

/// A script that is not there is told as Python tells it, with what else is there.
fn check_script(script: &str) -> Result<(), Failure> {
    let path = Path::new(script);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if matches!(ending, "jar" | "R" | "r" | "scala" | "java") {
        return Err(Failure::usage(format!("{script} is not a Python script"))
            .cause("jobs in other languages need a JVM or R, and there is none here")
            .help("bin/spark-submit --help"));
    }
    if path.is_file() {
        return Ok(());
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(Failure::verbatim(format!("python3: can't find '__main__' module in '{script}'"))
            .cause("it is a folder; spark-submit takes one script")
            .help(format!("ls {script}")));
    }
    let failure =
        Failure::verbatim(format!("python3: can't open file '{script}': [Errno 2] No such file or directory"));
    let names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let failure = match spelling::nearest(name, names.iter().map(String::as_str)) {
        Some(near) => failure.cause(format!("did you mean {}?", path.with_file_name(near).display())),
        None => failure.cause("options go before the script, and what follows it is the script's own"),
    };
    let place = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    Err(failure.help(format!("ls {}", place.display())))
}

/// Looks whether an interpreter that somebody chose can be one: an old one fails later, in words that do not name it. `python3` found by its name
/// is spared the time; our package looks for itself.
fn check_python(python: &OsStr, submission: &Submission) -> Result<(), Failure> {
    let asked = Command::new(python)
        .args(["-E", "-S", "-c", "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let said = asked.map_err(|error| no_python(python, &error, submission))?;
    let text = String::from_utf8_lossy(&said.stdout);
    let version = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let wrong = match version {
        Some(version) if said.status.success() && version >= PYTHON_MIN => return Ok(()),
        Some((major, minor)) => {
            format!("it is Python {major}.{minor}, and the package needs {}.{} or newer", PYTHON_MIN.0, PYTHON_MIN.1)
        }
        None => "it does not answer as a Python interpreter does".to_owned(),
    };
    Err(Failure::new(format!("{} cannot run this", python.to_string_lossy()))
        .cause(wrong)
        .help(with_python3(submission)))
}

/// What is said of an interpreter that does not start; the first words are those of Java, which Spark's users search for.
fn no_python(python: &OsStr, error: &std::io::Error, submission: &Submission) -> Failure {
    let number = error.raw_os_error().map(|number| format!("error={number}, ")).unwrap_or_default();
    let (name, why) = (python.to_string_lossy(), error.to_string());
    let failure = Failure::verbatim(format!("Cannot run program \"{name}\": {number}{}", without_number(&why)));
    let variable =
        ["PYSPARK_DRIVER_PYTHON", "PYSPARK_PYTHON"].into_iter().find(|name| std::env::var_os(name).is_some());
    match variable {
        Some(variable) => failure.cause(format!("{variable} names it")).help(with_python3(submission)),
        None => failure.cause("there is no Python on the path").help("apt-get install python3"),
    }
}

/// The same job with the interpreter that most machines have.
fn with_python3(submission: &Submission) -> String {
    let mut words = vec![
        "PYSPARK_PYTHON=python3 PYSPARK_DRIVER_PYTHON=python3 bin/spark-submit".to_owned(),
        submission.script.clone(),
    ];
    words.extend(submission.arguments.iter().cloned());
    words.join(" ")
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
            let missing = || Failure::misuse(format!("Missing argument for option '{option}'"));
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
                    pair.split_once('=').ok_or_else(|| Failure::misuse(format!("Spark config without '=': {pair}")))?;
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
                let failure = Failure::misuse(format!("Unrecognized option: {word}"));
                return Err(match spelling::nearest(option, OPTIONS.iter().chain(WITHOUT_MEANING).copied()) {
                    Some(near) => failure.cause(format!("did you mean {near}?")),
                    None => failure,
                });
            }
            _ => {
                submission.script = word.clone();
                submission.arguments = words.cloned().collect();
                break;
            }
        }
    }
    if submission.script.is_empty() {
        return Err(Failure::misuse("Missing application resource.").cause("no script was named"));
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
    let known = ["yarn", "mesos", "k8s", "spark", "local"].iter().any(|name| master.starts_with(name));
    Err(match known {
        true => Failure::usage(format!("--master {master} is not served by this engine")).cause(
            "jobs run in this process; handing a script to a real Spark cluster is not built yet: --master 'local[*]'",
        ),
        false => Failure::misuse("Master must either be yarn or start with spark, mesos, k8s, or local")
            .cause(format!("--master {master}")),
    })
}

/// Spark's properties files: `key value` or `key=value` a line.
fn read_properties(path: &Path, conf: &mut Map<String, Value>) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let place = path.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
        let failure = Failure::new(format!("cannot read {}", path.display())).cause(error);
        failure.help(format!("ls -l {}", place.display()))
    })?;
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
