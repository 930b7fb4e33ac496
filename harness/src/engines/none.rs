//! No engines at all: for programs that only read records.

use super::{Engine, EngineError, EngineProvider, Forecast, Progress};
use crate::scenario::{BuildOptions, Cell, ModelSource};

/// Refuses every engine.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEngines;

fn refusal(source: &ModelSource) -> EngineError {
    EngineError {
        what: format!("find an engine for {}: this program was built without a runtime", source.describe()),
        hint: None,
        interrupted: false,
    }
}

impl EngineProvider for NoEngines {
    fn ensure(
        &self,
        source: &ModelSource,
        _: &BuildOptions,
        _: &dyn Progress,
    ) -> Result<Engine, EngineError> {
        Err(refusal(source))
    }

    fn forecast(&self, cell: &Cell) -> Result<Forecast, EngineError> {
        Err(refusal(&cell.source))
    }
}
