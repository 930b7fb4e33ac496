//! The report over a run on disk: one file, nothing from outside, nothing that a name in it could break.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample_run;

use std::fs;
use std::path::Path;

use harness::record::{
    ClockState, ConditionsReading, Disturbance, DisturbanceCause, FloorReading, FloorRecord, Outcome,
    Reading, Run,
};
use harness::report::svg::class_bars::{Bar, Lane, class_bars};
use harness::report::svg::device_series::{Seen, device_series, seen};
use harness::report::svg::intervals::intervals;
use harness::report::svg::palette::Kind;
use harness::report::svg::series::{Line, series};
use harness::report::svg::waterfall::{Fall, Step, waterfall};
use harness::report::{self, ReportError, csv};
use harness::scenario::Condition;
use harness::verdict::judge;
use ledger::{BufferClass, Bytes, Micros, Phase};
use sample_run::device::{Board, run_on};
use sample_run::{Fate, Model, for_each_trial, run, run_of, six_cells, trial, write};

/// The most that a report of forty cells may take.
const SIZE_OF_FORTY_CELLS: usize = 1_500_000;

fn written(run: &Run, folder: &Path) -> String {
    write(run, folder);
    let outputs = report::write(folder).unwrap();
    fs::read_to_string(outputs.html).unwrap()
}

/// How often `part` stands in `text`.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn a_run_reads_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = run();
    write(&run, folder.path());
    let read = Run::load(folder.path()).unwrap();
    assert_eq!(read.record, run.record);
    assert_eq!(read.unreadable, []);
    assert_eq!(read.trials.len(), run.trials.len());
    for (read, written) in read.trials.iter().zip(&run.trials) {
        // `assert!`, for the two sides are too long to print.
        assert!(read.series == written.series);
        assert!(read.record.phases == written.record.phases && read.record.plan == written.record.plan);
        assert!(read.record.ledger == written.record.ledger && read.record.outcome == written.record.outcome);
    }
}

#[test]
fn a_disturbed_trial_is_on_the_page_with_its_reason() {
    let mut run = run_of(&[(Model::Qwen3, 1024, Fate::Completes)]);
    let cause =
        DisturbanceCause::ClockCapped { clock: "gpu".to_owned(), from_hz: 918_000_000, to_hz: 612_000_000 };
    run.trials[1].record.disturbances = vec![Disturbance { phase: Phase::Decode, cause }];
    let folder = tempfile::tempdir().unwrap();
    let html = written(&run, folder.path());
    let said =
        "trial 1 is inconclusive: the clocks dropped in decode: gpu may run at 612 MHz, and no more at 918";
    assert!(html.contains(said));
    assert!(html.contains("INCONCLUSIVE") && !html.contains("PASS"));
}

#[test]
fn a_peak_that_is_a_lower_bound_is_shown_as_one() {
    let mut run = run_of(&[(Model::Qwen3, 1024, Fate::Completes)]);
    let folder = tempfile::tempdir().unwrap();
    assert!(!written(&run, folder.path()).contains("≥"));
    let unload = run.trials[0].record.phases.last_mut().unwrap();
    unload.peak_resident_bytes = Reading::Measured(Bytes::gib(9));
    run.trials[0].series = Reading::Unavailable("it was lost".to_owned());
    std::fs::remove_dir_all(folder.path().join("samples")).unwrap();
    let html = written(&run, folder.path());
    // The cell's row, its facts, its chart, its trial, its phase, twice, and three findings.
    for (at, _) in html.match_indices("9,216.0") {
        assert!(html[..at].ends_with("≥ "), "{}", &html[at - 200..at + 20]);
    }
    assert!(html.matches("≥ 9,216.0").count() >= 8, "{}", html.matches("≥ 9,216.0").count());
    assert!(html.contains("of unload is a lower bound"));
}

#[test]
fn the_machine_at_the_end_stands_beside_the_machine_before() {
    let mut run = run_of(&[(Model::Qwen3, 1024, Fate::Completes)]);
    let clock = |now_hz| ClockState { now_hz, lowest_hz: 500_000_000, highest_hz: 2_000_000_000 };
    let state = |now_hz, events, swap| ConditionsReading {
        clocks: [("cpu policy0".to_owned(), clock(now_hz))].into(),
        throttle_events: [("oc3".to_owned(), events)].into(),
        swap_used_bytes: swap,
        ..ConditionsReading::default()
    };
    let unread = || Reading::Unavailable("a test".to_owned());
    for trial in &mut run.trials {
        trial.record.floor = Some(FloorRecord {
            reading: FloorReading {
                available_bytes: Reading::Measured(Bytes::gib(7)),
                page_cache_bytes: Reading::Measured(Bytes::gib(2)),
                page_pool_bytes: unread(),
                device_bytes: unread(),
                unified: false,
                gpu_holders: Vec::new(),
                targets: Vec::new(),
            },
            settled_us: Micros(1_300_000),
            cooldown: None,
            memory_tolerance_bytes: Some(Bytes::mib(80)),
            device_tolerance_bytes: Bytes::mib(64),
            conditions: state(1_900_000_000, 2, Some(Bytes::mib(3))),
        });
        trial.record.phases.last_mut().unwrap().end.conditions = state(600_000_000, 5, None);
    }
    let folder = tempfile::tempdir().unwrap();
    let html = written(&run, folder.path());
    let row = |name: &str, before: &str, after: &str| {
        format!("<th scope=\"row\">{name}</th><td class=\"n\">{before}</td><td class=\"n\">{after}</td>")
    };
    for (name, before, after) in [
        ("Clock cpu policy0, MHz (bounds)", "1,900 (500 to 2,000)", "600 (500 to 2,000)"),
        ("Throttling oc3, events since boot", "2", "5"),
        ("Swap used, MiB", "3.0", "n/a"),
    ] {
        assert!(html.contains(&row(name, before, after)), "{name}");
    }
    assert!(html.contains("The floor was waited for 1.3 s. Available: 7,168.0 MiB; taken of devices: n"));
}

#[test]
fn all_outputs_are_written_and_are_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let html = written(&run(), folder.path());
    let names = ["report.html", "cells.csv", "verdict.json", "junit.xml", "sarif.json", "summary.md"];
    let read = || names.map(|name| fs::read(folder.path().join(name)).unwrap());
    let first = read();
    report::write(folder.path()).unwrap();
    assert!(read() == first);
    let elsewhere = tempfile::tempdir().unwrap();
    let same_name = elsewhere.path().join(folder.path().file_name().unwrap());
    fs::create_dir(&same_name).unwrap();
    assert!(written(&run(), &same_name) == html, "the page must not depend on where the run lies");
    let verdict: serde_json::Value = serde_json::from_slice(&first[2]).unwrap();
    assert_eq!(verdict["format_version"], 2);
    assert_eq!(verdict["word"], "OOM");
    assert_eq!(verdict["exit_code"], 5);
    assert_eq!(verdict["cells"][0]["budgets"][0]["id"], "qwen3.5-on-the-edge");
}

#[test]
fn the_page_needs_nothing_from_outside_and_runs_one_script() {
    let folder = tempfile::tempdir().unwrap();
    let page = written(&run(), folder.path());
    let (html, script) = page.split_once("<script>").unwrap();
    assert!(script.ends_with("</script>\n</body>\n</html>"), "and nothing stands behind it");
    assert!(script.contains("MIT License") && script.contains("Leon Sorokin"), "its licence is with it");
    assert!(!script.contains("http"));
    for forbidden in [
        "<script",
        "<link",
        "<img",
        "<iframe",
        "@import",
        "http:",
        "https:",
        " style=",
        " onload",
        "url(\"http",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert_eq!(
        count(html, "url("),
        count(html, "url(#p-"),
        "only patterns of the page itself are referred to"
    );
    let policy = html.replace("&#39;", "'");
    assert!(policy.contains("content=\"default-src 'none'; style-src 'sha256-"));
    assert!(policy.contains("; script-src 'sha256-") && !policy.contains("unsafe"));
}

#[test]
fn every_chart_says_its_finding_and_has_its_numbers_as_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let html = written(&run(), folder.path());
    let charts = count(&html, "<svg class=\"chart");
    // One of all cells; time, waterfall and intervals of each of the six.
    assert_eq!(charts, 1 + 6 * 3);
    assert_eq!(count(&html, "role=\"img\" aria-label=\""), charts);
    assert_eq!(count(&html, "The numbers behind this chart"), charts);
    assert_eq!(
        count(&html, "<svg"),
        charts + count(&html, "aria-hidden=\"true\""),
        "the others are ornaments"
    );
    assert!(html.contains("above the budget of 2,900.0 MiB"));
    assert!(html.contains("synthetic weights"));
}

#[test]
fn names_and_logs_cannot_become_markup() {
    let hostile = "\"><script>alert(1)</script><b onload='x'>{{ 7919 * 7907 }}";
    let mut run = run();
    run.record.scenario.name = hostile.to_owned();
    run.record.scenario.text = hostile.to_owned();
    run.record.machine.as_mut().unwrap().cpu = hostile.to_owned();
    run.record.budgets[0].id = hostile.to_owned();
    for cell in &mut run.record.cells {
        cell.model = hostile.to_owned();
        cell.axes[0] = (hostile.to_owned(), hostile.to_owned());
    }
    run.record.budgets.iter_mut().for_each(|budget| budget.when = Condition::default());
    for_each_trial(&mut run, |trial| {
        trial.record.outcome = Outcome::Failed { phase: Phase::Decode, message: hostile.to_owned() };
        trial.record.log_tail = vec![hostile.to_owned(); 200];
        trial.record.warnings = vec![hostile.to_owned()];
        trial.record.plan.as_mut().unwrap().buffers[0].name = hostile.to_owned();
        trial.record.phases[1].end.gpu_bytes = Reading::Unavailable(hostile.to_owned());
    });
    let folder = tempfile::tempdir().unwrap();
    let html = written(&run, folder.path());
    assert!(count(&html, "<script") == 1 && !html.contains("<b onload"));
    assert!(!html.contains("62615533"), "text is not read as a template");
    assert!(html.contains("&lt;script&gt;"));
}

#[test]
fn forty_cells_stay_within_the_size_that_was_set() {
    let cells: Vec<(Model, u32, Fate)> = (0..40)
        .map(|number| {
            let (model, _, fate) = six_cells()[number % 6];
            (model, 512 + 192 * number as u32, fate)
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let html = written(&run_of(&cells), folder.path());
    assert!(html.len() <= SIZE_OF_FORTY_CELLS, "{} bytes", html.len());
    assert!(count(&html, "<details class=\"cell\" id=") > 0, "cells that pass are folded");
}

#[test]
fn a_trial_that_cannot_be_read_is_said_and_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let run = run();
    write(&run, folder.path());
    let victim = |folder: &str, ext: &str| format!("{folder}/{}.{ext}", run.record.trials[0].stem);
    fs::write(folder.path().join(victim("trials", "json")), "{\"format_version\": 1,").unwrap();
    let outputs = report::write(folder.path()).unwrap();
    assert_eq!(outputs.verdict.exit_code.code(), 5);
    assert_eq!(outputs.verdict.cells.len(), 6);
    assert!(fs::read_to_string(outputs.html).unwrap().contains("failed to understand"));

    write(&run, folder.path());
    fs::remove_file(folder.path().join(victim("samples", "csv"))).unwrap();
    let outputs = report::write(folder.path()).unwrap();
    assert!(
        outputs.verdict.cells.iter().any(|cell| cell.doubts.iter().any(|doubt| doubt.contains("no series")))
    );
}

#[test]
fn numbers_beyond_measure_are_refused_and_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = run_of(&six_cells()[..1]);
    run.trials[0].record.phases[1].peak_resident_bytes = Reading::Measured(Bytes(u64::MAX));
    run.trials[1].record.plan.as_mut().unwrap().buffers.iter_mut().for_each(|buffer| {
        if let Some(growth) = &mut buffer.growth {
            growth.tokens.0 = 0;
        }
    });
    write(&run, folder.path());
    let read = Run::load(folder.path()).unwrap();
    assert_eq!(read.unreadable.len(), 2);
    assert_eq!(report::write(folder.path()).unwrap().verdict.exit_code.code(), 5);
}

#[test]
fn a_name_that_leads_out_of_the_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = run_of(&six_cells()[..1]);
    run.record.trials[0].stem = "../run".to_owned();
    write(&run, folder.path());
    let read = Run::load(folder.path()).unwrap();
    assert!(read.unreadable[0].why.contains("not a plain file name"));
}

#[test]
fn a_folder_that_is_no_run_is_an_error_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let error = report::write(folder.path()).unwrap_err();
    assert!(matches!(error, ReportError::Run(_)));
    assert!(
        error.to_string().contains("run.json") && error.to_string().contains("is this the folder of a run?")
    );
}

#[test]
fn a_run_without_trials_still_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = run();
    run.trials.clear();
    run.record.trials.clear();
    let html = written(&run, folder.path());
    assert!(html.contains("INCOMPLETE") && html.contains("No trial was recorded."));
}

#[test]
fn the_table_of_cells() {
    let text = String::from_utf8(csv::cells(&judge(&run())).unwrap()).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn the_chart_of_all_cells() {
    let bar = |model: &str, peak, limit| Bar {
        model: model.to_owned(),
        axes: "maxInputLen 4096".to_owned(),
        word: "PASS".to_owned(),
        lanes: vec![Lane {
            parts: vec![
                (Kind::Class(BufferClass::WeightsLinear), Bytes::mib(60)),
                (Kind::Class(BufferClass::KvCache), Bytes::mib(30)),
                (Kind::Released, Bytes::mib(10)),
            ],
            peak: Some(Bytes::mib(peak)),
            limit: Some(Bytes::mib(limit)),
            ..Lane::default()
        }],
    };
    let silent = Bar {
        lanes: vec![Lane { silent: Some("no trial was recorded".to_owned()), ..Lane::default() }],
        ..bar("silent", 0, 0)
    };
    insta::assert_snapshot!(class_bars(
        &[bar("within", 100, 120), bar("over", 100, 90), silent],
        "a finding"
    ));
}

#[test]
fn the_chart_of_cells_on_devices() {
    let lane = |class, mib| Lane {
        parts: vec![
            (Kind::Class(class), Bytes::mib(mib)),
            (Kind::Class(BufferClass::Unaccounted), Bytes::mib(2)),
        ],
        peak: Some(Bytes::mib(mib + 2)),
        limit: Some(Bytes::mib(60)),
        ..Lane::default()
    };
    let bar = |model: &str, lanes| Bar {
        model: model.to_owned(),
        axes: "maxInputLen 4096".to_owned(),
        word: "PASS".to_owned(),
        lanes,
    };
    let context = vec![(Kind::Class(BufferClass::DeviceContext), Bytes::mib(40))];
    let card = vec![lane(BufferClass::Program, 20), lane(BufferClass::WeightsLinear, 80)];
    let unified =
        vec![Lane { device_parts: context, peak: Some(Bytes::mib(62)), ..lane(BufferClass::Program, 20) }];
    let host = vec![lane(BufferClass::WeightsLinear, 50)];
    let bars = [bar("card", card), bar("unified", unified), bar("host", host)];
    insta::assert_snapshot!(class_bars(&bars, "a finding"));
}

#[test]
fn the_chart_of_a_device_over_time() {
    let mut trial = run_on(Board::Card).trials.swap_remove(0);
    let Reading::Measured(series) = &mut trial.device_series else { unreachable!() };
    series.samples.retain(|sample| sample.at.0 % 500_000 < 10_000);
    let line = Line { label: "card".to_owned(), limit: Bytes::mib(2720), fails: true };
    let by_process = device_series(&trial, std::slice::from_ref(&line), "a finding");
    let Reading::Measured(series) = &mut trial.device_series else { unreachable!() };
    series.samples.iter_mut().for_each(|sample| sample.used = Some(Bytes::ZERO));
    assert_eq!(seen(&trial), Seen::Growth, "nothing is listed for the process, as in a container");
    trial.device_series = Reading::Unavailable("no GPU".to_owned());
    assert_eq!(seen(&trial), Seen::Nothing);
    assert!(device_series(&trial, &[line], "a finding").contains("peak-value strong"), "peaks stay");
    insta::assert_snapshot!(by_process);
}

#[test]
fn every_device_chart_says_its_finding_and_adds_up() {
    for (board, total) in [(Board::Card, "peak on the device"), (Board::Unified, "host and device")] {
        let folder = tempfile::tempdir().unwrap();
        let html = written(&run_on(board), folder.path());
        let charts = count(&html, "<svg class=\"chart");
        assert_eq!(charts, 1 + 3 * 4);
        assert_eq!(count(&html, "role=\"img\" aria-label=\""), charts);
        assert_eq!(count(&html, &format!("class=\"name strong\">{total}<")), 3);
        assert!(html.contains("On the device") && html.contains("device_context"));
    }
}

#[test]
fn the_chart_over_time() {
    let mut trial = trial(Model::Qwen35, 256, 0, Fate::Completes);
    let Reading::Measured(samples) = &mut trial.series else { unreachable!() };
    samples.samples.retain(|sample| sample.at.0 % 100_000 < 10_000 || sample.at.0 < 2_000_000);
    let line = Line { label: "edge".to_owned(), limit: Bytes::mib(2720), fails: true };
    let Reading::Measured(samples) = &trial.series else { unreachable!() };
    insta::assert_snapshot!(series(samples, &trial, &[line], "a finding"));
}

#[test]
fn a_single_sample_is_seen_in_the_chart() {
    let trial = trial(Model::Qwen35, 1024, 0, Fate::Completes);
    let Reading::Measured(mut samples) = trial.series.clone() else { unreachable!() };
    let drawn = |samples: &harness::record::Series| series(samples, &trial, &[], "a finding");
    let before = drawn(&samples);
    let middle = samples.samples.len() / 2;
    let low = samples.samples[middle].anonymous.unwrap();
    samples.samples[middle].anonymous = Some(low + Bytes::mib(400));
    assert!(drawn(&samples) != before);
    samples.samples[middle].anonymous = Some(low);
    assert!(drawn(&samples) == before);
}

fn step(class: BufferClass, mib: i64) -> Step {
    Step { name: class.name().to_owned(), kind: Kind::Class(class), bytes: mib << 20 }
}

#[test]
fn the_waterfall() {
    let steps = vec![
        step(BufferClass::WeightsLinear, 60),
        step(BufferClass::KvCache, 50),
        step(BufferClass::Unaccounted, -10),
    ];
    let fall = Fall {
        steps,
        peak: Bytes::mib(100),
        peak_name: "peak resident",
        limit: Some(Bytes::mib(90)),
        ..Fall::default()
    };
    insta::assert_snapshot!(waterfall(&[fall], "a finding"));
}

#[test]
fn the_waterfall_of_two_memories() {
    let host = Fall {
        heading: Some("Host memory".to_owned()),
        steps: vec![step(BufferClass::Program, 22), step(BufferClass::Unaccounted, -2)],
        peak: Bytes::mib(20),
        peak_name: "peak resident",
        ..Fall::default()
    };
    let device = Fall {
        heading: Some("Orin, in the same memory".to_owned()),
        from: Bytes::mib(20),
        steps: vec![step(BufferClass::WeightsLinear, 60), step(BufferClass::DeviceContext, 10)],
        peak: Bytes::mib(90),
        peak_name: "host and device",
        limit: Some(Bytes::mib(80)),
        ..Fall::default()
    };
    insta::assert_snapshot!(waterfall(&[host, device], "a finding"));
}

#[test]
fn the_chart_of_intervals() {
    let health = trial(Model::Qwen35, 1024, 1, Fate::ProbesMissing).record.sampler;
    insta::assert_snapshot!(intervals(&health.interval_histogram, "a finding"));
}

/// Writes the sample report to the folder that `SWEEP_SAMPLE_REPORT` names, to be looked at.
#[test]
fn the_sample_report_can_be_looked_at() {
    let named = std::env::var_os("SWEEP_SAMPLE_REPORT");
    let scratch = tempfile::tempdir().unwrap();
    let html = written(&run(), named.as_deref().map_or(scratch.path(), Path::new));
    assert!(html.ends_with("</html>\n") || html.ends_with("</html>"));
}

/// The same for a card and for unified memory, in the folders `SWEEP_SAMPLE_REPORT`-card and -unified.
#[test]
fn the_sample_reports_on_devices_can_be_looked_at() {
    let named = std::env::var("SWEEP_SAMPLE_REPORT").ok();
    for (board, name) in [(Board::Card, "card"), (Board::Unified, "unified")] {
        let scratch = tempfile::tempdir().unwrap();
        let named = named.as_ref().map(|folder| format!("{folder}-{name}"));
        let html = written(&run_on(board), named.as_deref().map_or(scratch.path(), Path::new));
        assert!(html.ends_with("</html>\n") || html.ends_with("</html>"));
    }
}
