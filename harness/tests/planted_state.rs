//! A fault in the arithmetic, planted between the operators: the recurrent state kept in bf16.

#![expect(clippy::unwrap_used, reason = "where there is no reading, the test fails")]

use std::path::Path;

use harness::engines::{ScoreRequest, score};
use harness::record::{QualityReading, Reading};
use harness::scenario;
use ledger::Tokens;
use runtime::backend::Backend;
use runtime::backend::cpu::{CpuDevice, Observed, Observer};
use runtime::checkpoint::DirectoryCheckpoint;
use runtime::engine::Engine;
use runtime::engine_dir::{BuildFlow, BuildOptions, EngineDir, LmHead, build};
use runtime::memory::Buffer;
use runtime::plan::{KvCacheType, Precision, RuntimeOptions};

#[derive(Debug, Default)]
struct StatesInBf16;

impl Observer for StatesInBf16 {
    fn state_written(&self, state: &mut Buffer) {
        for number in state.slice_mut::<f32>() {
            *number = half::bf16::from_f32(*number).to_f32();
        }
    }
}

/// The exact path of the trained hybrid on `B`, held against that of the CPU.
fn scored<B: Backend>(directory: &EngineDir, text: &str) -> Reading<QualityReading> {
    let mut options = RuntimeOptions::new(Tokens(1100), 2);
    (options.precision, options.kv_cache_type) = (Precision::Exact, KvCacheType::F32);
    let exact = Engine::<CpuDevice>::load(directory, &options).unwrap();
    let tested = Engine::<B>::load(directory, &options).unwrap();
    let request = ScoreRequest { text, tokens: Tokens(192), continuations: 0 };
    Reading::Measured(score(&exact, &tested, request, false, &|| false).unwrap())
}

#[test]
fn a_state_in_bf16_fails_the_gate_of_the_exact_path_by_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let scenario = std::fs::read_to_string(root.join("scenarios/quality.yaml")).unwrap();
    let scenario = scenario::parse(Path::new("quality.yaml"), scenario).unwrap();
    let budgets = scenario.quality.unwrap().budgets;
    let gate = budgets.iter().find(|budget| budget.id == "exact").unwrap();

    let trained = root.join("fixtures/trained");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine");
    let checkpoint = DirectoryCheckpoint::open(&trained.join("hybrid-awq")).unwrap();
    let options = BuildOptions { lm_head: LmHead::F16, ..BuildOptions::default() };
    build(&checkpoint, &options, &path, 2, &mut |_| BuildFlow::Continue).unwrap();
    let directory = EngineDir::open(&path).unwrap();
    let text = std::fs::read_to_string(trained.join("evaluation.txt")).unwrap();

    assert_eq!(gate.exceeded_by(&scored::<CpuDevice>(&directory, &text)), Ok(None));
    let said = gate.exceeded_by(&scored::<Observed<StatesInBf16>>(&directory, &text)).unwrap();
    let said = said.expect("a state in bf16 passes the gate");
    assert!(said.starts_with("mean KL divergence in nats is "), "{said}");
}
