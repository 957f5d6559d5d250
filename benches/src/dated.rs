//! Results that are kept: printed, and written where they are found again.

use std::{fs, io, path::PathBuf, process::Command};

use lacewing_load::machine::Machine;
use serde_json::{Value, json};

use crate::guest::root;

/// Adds to a result what it is a result of, prints it, and where that is asked for writes it to
/// `benches/results/DATE-NAME.json`.
///
/// # Errors
/// It cannot be written.
pub fn publish(name: &str, write: bool, mut result: Value) -> io::Result<()> {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root()).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_default()
    };
    let date = said("date", &["-u", "+%Y-%m-%d"]);
    result["machine"] = json!(Machine::this().describe());
    result["date"] = json!(date);
    result["revision"] = json!(said("git", &["describe", "--always", "--dirty"]));
    let text = serde_json::to_string_pretty(&result).map_err(io::Error::other)?;
    println!("{text}");
    if write {
        let dir: PathBuf = root().join("benches/results");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("{date}-{name}.json")), text + "\n")?;
    }
    Ok(())
}
