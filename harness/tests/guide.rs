//! Every example of the guide, the README and the pages on boards, other runtimes and co-residents is executed: scenarios are loaded, and run where that takes seconds; commands are
//! run on the fixtures, or read by the command line alone where they need more; outputs are held against what is really said.
//! A block of a kind that nobody here knows fails, so that no example is added without a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::cli::understands;
use harness::lock::{self, EngineLock};
use harness::scenario::{self, Scenario};

/// Commands that are read and not run, by how they begin, each with the reason. One that runs a scenario has it loaded.
const READ_ONLY: [(&str, &str); 19] = [
    ("sweep run", "engines of 4B models, which take minutes and gigabytes"),
    ("sweep build --synthetic", "half a gigabyte of random weights"),
    ("sweep build qwen3-4b-awq", "what the network would have brought"),
    ("sweep fetch", "the network; tests/fetch.rs has a hub of its own"),
    (
        "sweep bisect",
        "a repository, and a build of every commit that is tried; tests/bisect.rs has one of scripts",
    ),
    ("sweep merge", "runs of several machines; tests/merge.rs has those of a fake target"),
    ("sweep serve", "it serves until it is ended"),
    ("sweep kernels build", "NVRTC, which is not on every machine"),
    ("cargo", "what runs this very test"),
    ("curl", "a server; those of `server/tests` ask the same"),
    ("pip", "the network"),
    ("unzip", "what pip would have brought"),
    ("bash ci/", "a board; tests/workflows.rs and tests/ci_scripts.rs run these scripts"),
    ("sweep baseline promote out/", "a run of a board; tests/workflows.rs promotes one"),
    ("apt-get", "the rights of root"),
    ("nvpmodel", "a board"),
    ("reboot", "nothing left to do afterwards"),
    ("git", "a change to this repository"),
    ("./", "the folder of GitHub's runner"),
];

/// The documents whose examples are executed.
const DOCUMENTS: [&str; 5] =
    ["docs/guide.md", "README.md", "docs/board.md", "docs/runtimes.md", "docs/coresidency.md"];

/// Scenarios of the guide itself, which are small enough to run: exceptions from `sweep run` above.
const RUN_ANYWAY: [&str; 1] = ["sweep run mine"];

/// A fenced block of a document: of an `answer` every line is what a command says, of a `text` the first one, and the rest is like it.
struct Block {
    kind: String,
    text: String,
    place: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("it is there")
}

fn blocks(document: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(repository().join(document)).expect("it is there");
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(kind), false) => {
                let place = format!("{document}:{}", number + 1);
                blocks.push(Block { kind: kind.to_owned(), text: String::new(), place });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = blocks.last_mut().expect("one is open");
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "{document}: the last block does not end");
    blocks
}

/// A folder in which the commands of the guide find what they name.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let link =
        |from: &str, to: &str| std::os::unix::fs::symlink(repository().join(from), at(to)).expect("ours");
    std::fs::create_dir_all(at("scenarios")).expect("ours");
    std::fs::create_dir_all(at("path/to")).expect("ours");
    for entry in std::fs::read_dir(repository().join("scenarios")).expect("there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        link(&format!("scenarios/{name}"), &format!("scenarios/{name}"));
    }
    link("fixtures", "fixtures");
    link("engines.lock", "engines.lock");
    link("fixtures/checkpoints/hybrid-awq", "path/to/checkpoint");
    link("fixtures/logs/reported-case.free", "reported-case.free");
    link("fixtures/logs/reported-case.log", "reported-case.log");
    link("fixtures/logs/reported-case.free", "free.txt");
    link("fixtures/logs/edge-llm-debug.log", "tensorrt.log");
    link("fixtures/logs/llama-server.log", "server.log");
    folder
}

fn run(folder: &Path, words: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sweep"));
    command.args(words).current_dir(folder).env("SWEEP_KERNELS", folder.join("kernels"));
    command.output().expect("it starts")
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The words of a line, quotes resolved and comments left out.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        let at_start = words.last().is_some_and(String::is_empty);
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '#') if at_start => break,
            (None, ' ') if at_start => {}
            (None, ' ') => words.push(String::new()),
            (_, c) => words.last_mut().expect("there is one").push(c),
        }
    }
    assert!(quote.is_none(), "{line}: a quote does not end");
    words.retain(|word| !word.is_empty());
    words
}

/// `whole` with the keys of `part` in the place of its own.
fn merged(whole: &str, part: &str) -> String {
    /// Top-level keys with their lines; what stands before the first one has none.
    fn sections(text: &str) -> Vec<(String, String)> {
        let mut sections = vec![(String::new(), String::new())];
        for line in text.lines() {
            let key =
                line.split_once(':').filter(|(key, _)| !key.starts_with([' ', '#', '-']) && !key.is_empty());
            if let Some((key, _)) = key {
                sections.push((key.to_owned(), String::new()));
            }
            let (_, lines) = sections.last_mut().expect("there is one");
            lines.push_str(line);
            lines.push('\n');
        }
        sections
    }
    let parts = sections(part);
    // Several targets stand in the place of one.
    let is_of = |other: &str, key: &str| other == key || (other, key) == ("targets", "target");
    let is_replaced = |key: &str| !key.is_empty() && parts.iter().any(|(other, _)| is_of(other, key));
    let kept = sections(whole).into_iter().filter(|(key, _)| !is_replaced(key)).map(|(_, lines)| lines);
    kept.chain(parts.iter().map(|(_, lines)| lines.clone())).collect()
}

fn load(text: String, place: &str) -> Scenario {
    let scenario =
        scenario::parse(Path::new("mine.yaml"), text).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(!scenario.expand().cells.is_empty(), "{place}");
    scenario
}

/// The names of the columns of a line: what stands between two blanks or more.
fn columns(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect()
}

/// A command of a document, or why it is only read.
fn execute(folder: &Path, line: &str, place: &str, said: &mut BTreeMap<String, String>) {
    // As it is typed where nothing is installed.
    let line = line.replace("SCENARIO", "mine").replace("target/debug/sweep ", "sweep ");
    let mut words = words(&line);
    words.retain(|word| {
        !word.split_once('=').is_some_and(|(name, _)| {
            name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
        })
    });
    // Who runs it does not matter to what is run.
    if words.first().is_some_and(|word| word == "sudo") {
        let named = if words.get(1).is_some_and(|word| word == "-u") { 3 } else { 1 };
        words.drain(..named);
    }
    let Some(program) = words.first() else { return };
    let typed = words.join(" ");
    let is_run_anyway = RUN_ANYWAY.iter().any(|known| typed.starts_with(known));
    if let Some(known) = READ_ONLY.iter().find(|(known, _)| typed.starts_with(known) && !is_run_anyway) {
        if program == "sweep" {
            understands(words.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        if let Some(script) = words.get(1).filter(|_| program == "bash") {
            assert!(repository().join(script).is_file(), "{place}: {script} is not there");
        }
        if known.0 == "sweep run" {
            let name = words.get(2).map_or("quick", String::as_str);
            let path = folder.join("scenarios").join(format!("{name}.yaml"));
            scenario::load(&path).unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        return;
    }
    assert_eq!(program, "sweep", "{place}: nobody knows what to do with `{line}`");
    if said.contains_key(&typed) {
        return;
    }
    let output = run(folder, &words[1..]);
    // A verdict depends on the machine; that there is one does not.
    let is_verdict = ["run", "check"].contains(&words[1].as_str());
    let promised = line.split_once("# exit code ").and_then(|(_, code)| code.parse().ok());
    let allowed = match promised {
        Some(code) => vec![code],
        None if is_verdict => vec![0, 1, 4],
        None => vec![0],
    };
    let code = output.status.code().unwrap_or(-1);
    assert!(allowed.contains(&code), "{place}: {line}: {code}\n{}", text_of(&output.stderr));
    said.insert(typed, text_of(&output.stdout) + &text_of(&output.stderr));
}

#[test]
fn every_example_does_what_it_says() {
    let folder = workplace();
    let blocks: Vec<Block> = DOCUMENTS.iter().flat_map(|document| blocks(document)).collect();
    let whole = blocks.iter().find(|block| block.kind == "yaml" && block.text.contains("\nname: "));
    let whole = whole.expect("the guide has a whole scenario");
    std::fs::write(folder.path().join("scenarios/mine.yaml"), &whole.text).expect("ours");

    let mut said: BTreeMap<String, String> = BTreeMap::new();
    for block in &blocks {
        match block.kind.as_str() {
            "sh" => {
                for line in block.text.lines() {
                    execute(folder.path(), line, &block.place, &mut said);
                }
            }
            "yaml" => {
                let text = merged(&whole.text, &block.text);
                let scenario = load(text.clone(), &block.place);
                // What takes no foreign program and no board is run, too: the parts that change which cells there are, and how
                // they are visited.
                let is_part = block.text != whole.text;
                let has_stand_ins =
                    block.text.starts_with("co_residents:") && !block.text.contains("command:");
                if is_part && (block.text.starts_with("axes:") || has_stand_ins) {
                    let name = block.place.replace(['/', ':', '.'], "-");
                    let text = text
                        .replace("name: mine", &format!("name: {name}"))
                        .replace("trials: 3", "trials: 1");
                    std::fs::write(folder.path().join(format!("scenarios/{name}.yaml")), text).expect("ours");
                    let line = format!("run {name} --output parts");
                    let output = run(folder.path(), &words(&line));
                    let answer = text_of(&output.stdout) + &text_of(&output.stderr);
                    assert!(
                        [Some(0), Some(1), Some(4)].contains(&output.status.code()),
                        "{}: a verdict, not an error: {answer}",
                        block.place
                    );
                    let cells = scenario.expand().cells;
                    assert!(
                        cells.iter().all(|cell| answer.contains(&cell.describe())),
                        "{}: {answer}",
                        block.place
                    );
                    said.insert(line, answer);
                }
            }
            "toml" => {
                let text = format!("format_version = {}\n{}", lock::FORMAT_VERSION, block.text);
                EngineLock::parse(Path::new("engines.lock"), &text)
                    .unwrap_or_else(|error| panic!("{}: {error}", block.place));
            }
            "text" | "answer" | "grammar" => {}
            other => panic!("{}: nobody executes blocks of the kind `{other}`", block.place),
        }
    }
    // The one command that the text names beside its blocks.
    execute(folder.path(), "sweep plan mine", "docs/guide.md", &mut said);

    for block in blocks.iter().filter(|block| block.kind == "text") {
        let first = block.text.lines().find(|line| !line.trim().is_empty()).expect("it says something");
        let wanted = columns(first);
        let is_said = said.values().flat_map(|text| text.lines()).any(|line| columns(line) == wanted);
        assert!(is_said, "{}: no command answers with `{first}`", block.place);
    }
    for block in blocks.iter().filter(|block| block.kind == "answer") {
        for line in block.text.lines() {
            let is_said = said.values().flat_map(|text| text.lines()).any(|said| said == line);
            assert!(is_said, "{}: no command answers with `{line}`", block.place);
        }
    }
    let grammar = std::fs::read_to_string(repository().join("harness/src/scenario/condition/parse.rs"));
    let grammar = grammar.expect("the grammar's own file");
    for block in blocks.iter().filter(|block| block.kind == "grammar") {
        for line in block.text.lines() {
            assert!(
                grammar.contains(&format!("//! {line}\n")),
                "{}: the parser has no rule `{line}`",
                block.place
            );
        }
    }
}

#[test]
fn every_word_of_the_file_stands_in_the_table_of_keys() {
    let guide = std::fs::read_to_string(repository().join("docs/guide.md")).expect("it is there");
    let schema: serde_json::Value = serde_json::from_str(&scenario::schema_text()).expect("JSON");
    for key in schema["properties"].as_object().expect("keys").keys() {
        let starts =
            [format!("| `{key}`"), format!("| `{key}."), format!("| `{key}[]"), format!("`{key}` |")];
        assert!(starts.iter().any(|start| guide.contains(start)), "the table of keys has no `{key}`");
    }
}
