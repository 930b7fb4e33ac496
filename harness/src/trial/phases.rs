//! What each phase asks of the target, and how long it may take.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Micros, Millis, Phase, Tokens};
use tokio::time::{Instant, sleep, sleep_until};

use super::arrivals::{Arrival, Arrivals};
use super::co_residents::CoResidents;
use super::outcome::Stop;
use super::prompt::prompt;
use crate::clock::TrialClock;
use crate::engines::{Engine, words};
use crate::interrupt::Interrupt;
use crate::probe::MemoryGuard;
use crate::record::{HELD_TOKENS, Question, Reading, RequestRecord, TargetRecord};
use crate::scenario::{Cell, Decode, Prefill, PromptTokens};
use crate::target::{
    Abilities, AccountSource, Client, CompletionRequest, Interface, TargetAccount, TargetProcess,
};

/// Tokens that come within less than this may have been read from the socket together: their times say nothing.
const SHORTEST_SPAN: Millis = Millis(5.0);

/// An account that takes longer than this to tell is not worth stopping a trial for.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(5);

/// Room for the template of a chat with one message.
const TEMPLATE_TOKENS: u32 = 64;

/// Time between two looks at a file or an address.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A target that refuses a connection has often just died: so long is waited for the news.
const NEWS_OF_DEATH: Duration = Duration::from_millis(500);

/// A phase's time, over all that it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// `limit` from now.
    pub(super) fn after(limit: Duration) -> Deadline {
        Deadline { at: Instant::now() + limit, limit }
    }
}

/// A target in the hands of a trial.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) process: TargetProcess,
    pub(super) abilities: Abilities,
    /// What it does not answer.
    pub(super) target: TargetRecord,
    pub(super) interface: Interface,
    /// The way to the target, once its address is known.
    pub(super) client: Option<Client>,
    /// True where a target that refuses connections may not listen yet.
    pub(super) listens_late: bool,
    pub(super) port_file: PathBuf,
    /// Where its output goes.
    pub(super) log: PathBuf,
    pub(super) cell: &'a Cell,
    pub(super) engine: &'a Engine,
    pub(super) seed: u64,
    pub(super) clock: TrialClock,
    pub(super) interrupt: &'a Interrupt,
    pub(super) guard: Arc<MemoryGuard>,
    pub(super) co_residents: CoResidents,
    /// Prompts that were sent.
    pub(super) sent: u32,
    /// The stream that a phase has left open.
    pub(super) open: Option<OpenStream>,
}

/// A stream after its first token.
#[derive(Debug)]
pub(super) struct OpenStream {
    arrivals: Arrivals,
    phase: Phase,
    prompt: Tokens,
    sent_at: Micros,
    first: Arrival,
    last: Arrival,
}

impl OpenStream {
    /// The request as far as it has come, with the `counted` tokens that were wanted.
    fn record(&self, counted: u32) -> RequestRecord {
        RequestRecord {
            phase: self.phase,
            sent_us: Some(self.sent_at),
            prompt_tokens: self.prompt,
            completion_tokens: Tokens(counted),
            time_to_first_token_ms: Reading::Measured(between(self.sent_at, self.first.at)),
            time_per_output_token_ms: time_per_token(self.first, self.last, counted),
            total_ms: between(self.sent_at, self.last.at),
            speculation: self.last.speculation,
        }
    }
}

fn between(from: Micros, to: Micros) -> Millis {
    Millis((to.0 - from.0) as f64 / 1000.0)
}

/// Mean time of a token after the first. A round of speculative decoding brings several tokens at once, so that the last
/// arrival may bring more than the `counted` ones that were wanted: the mean is over all that came.
fn time_per_token(first: Arrival, last: Arrival, counted: u32) -> Reading<Millis> {
    match (between(first.at, last.at), last.tokens.saturating_sub(first.tokens)) {
        _ if counted <= 1 => Reading::Unavailable("only one token was asked for".to_owned()),
        (_, 0) => Reading::Unavailable("all tokens came at once".to_owned()),
        (span, _) if span < SHORTEST_SPAN => {
            Reading::Unavailable(format!("the tokens came within {} ms, too fast to be timed", span.0))
        }
        (span, tokens) => Reading::Measured(Millis(span.0 / f64::from(tokens))),
    }
}

impl Session<'_> {
    /// Does `work`, unless the child ends, the time is up, or someone asks to stop.
    pub(super) async fn guarded<T>(
        &self,
        deadline: Deadline,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        let stopped = tokio::select! {
            biased;
            () = self.interrupt.asked_now() => Stop::Interrupted,
            () = self.guard.strikes() => Stop::Guarded,
            at = self.co_residents.one_ended() => Stop::CoResidentEnded(at),
            done = work => match done {
                Err(Stop::Failed(message)) => tokio::select! {
                    () = self.process.exited() => Stop::Exited(UNKNOWN_ENDING),
                    () = sleep(NEWS_OF_DEATH) => Stop::Failed(message),
                },
                done => return done,
            },
            () = self.process.exited() => Stop::Exited(UNKNOWN_ENDING),
            () = sleep_until(deadline.at) => Stop::TimedOut(deadline.limit),
        };
        Err(stopped)
    }

    /// Waits until the target has published its address.
    pub(super) async fn wait_for_address(&mut self, deadline: Deadline) -> Result<(), Stop> {
        if self.client.is_some() {
            return Ok(());
        }
        let address = self
            .guarded(deadline, async {
                loop {
                    let text = std::fs::read_to_string(&self.port_file).unwrap_or_default();
                    if let Some(address) = text.strip_suffix('\n') {
                        return Ok(address.to_owned());
                    }
                    sleep(LOOK_EVERY).await;
                }
            })
            .await?;
        let client = Client::new(&format!("http://{address}"), self.interface.clone());
        self.client = Some(client.map_err(|error| Stop::Failed(error.to_string()))?);
        Ok(())
    }

    /// Lets time pass.
    pub(super) async fn wait(&self, lasts: Duration, deadline: Deadline) -> Result<(), Stop> {
        self.guarded(deadline, async {
            sleep(lasts).await;
            Ok(())
        })
        .await
    }

    /// Tells the target to load, and waits until it is ready.
    pub(super) async fn load(&mut self, deadline: Deadline) -> Result<(), Stop> {
        let _ = self.process.go();
        self.wait_for_address(deadline).await?;
        self.guarded(deadline, async {
            let client = self.client()?;
            loop {
                match client.is_ready().await {
                    Ok(true) => return Ok(()),
                    Ok(false) => sleep(LOOK_EVERY).await,
                    Err(error) if self.listens_late && error.is_refused_connection() => {
                        sleep(LOOK_EVERY).await;
                    }
                    Err(error) => return Err(Stop::Failed(error.to_string())),
                }
            }
        })
        .await
    }

    /// Sends the prompts of a prefill phase, each up to its first token. The last stream stays open; `goes_on` is how
    /// many of its tokens a decode phase will want.
    pub(super) async fn prefill(
        &mut self,
        prefill: Prefill,
        goes_on: Option<Tokens>,
        deadline: Deadline,
    ) -> Result<Vec<RequestRecord>, Stop> {
        let mut requests = Vec::new();
        for request in 0..prefill.requests {
            let last = request + 1 == prefill.requests;
            let output = if last { goes_on.unwrap_or(Tokens(1)) } else { Tokens(1) };
            let mut stream = self.first_token(Phase::Prefill, prefill.prompt, output, last, deadline).await?;
            if last {
                if goes_on.is_none() {
                    requests.push(stream.record(1));
                }
                self.open = Some(stream);
            } else {
                self.read_until(&mut stream, u32::MAX, deadline).await?;
                requests.push(stream.record(1));
            }
        }
        Ok(requests)
    }

    /// Reads tokens of the open stream, or of a new one, until the wanted number is there. The stream stays open.
    pub(super) async fn decode(&mut self, decode: Decode, deadline: Deadline) -> Result<RequestRecord, Stop> {
        let mut stream = match (self.open.take(), decode.prompt) {
            (Some(stream), None) => stream,
            (left, prompt) => {
                self.open = left;
                self.close(deadline).await?;
                let prompt = prompt.unwrap_or(PromptTokens::Count(Tokens(1)));
                self.first_token(Phase::Decode, prompt, decode.output, true, deadline).await?
            }
        };
        self.read_until(&mut stream, decode.output.0, deadline).await?;
        // Where the harness counts texts, fewer tokens may be found than there were.
        if stream.last.tokens < decode.output.0 && matches!(self.interface, Interface::Completions) {
            let (got, wanted) = (stream.last.tokens, decode.output.0);
            return Err(Stop::Failed(format!("the stream ended after {got} of {wanted} tokens")));
        }
        let record = stream.record(decode.output.0.min(stream.last.tokens));
        self.open = Some(stream);
        Ok(record)
    }

    /// Asks the target to end, and waits until it has.
    pub(super) async fn unload(&mut self, deadline: Deadline) -> Result<(), Stop> {
        self.open = None;
        self.process.terminate();
        let ended = self.guarded(deadline, std::future::pending::<Result<(), Stop>>()).await;
        match ended {
            Err(Stop::Exited(_)) => Ok(()),
            other => other,
        }
    }

    /// Leaves the open stream: hangs up where the target allows it, else reads to the end.
    pub(super) async fn close(&mut self, deadline: Deadline) -> Result<(), Stop> {
        match self.open.take() {
            Some(mut stream) if !self.abilities.can_hang_up => {
                self.read_until(&mut stream, u32::MAX, deadline).await
            }
            _ => Ok(()),
        }
    }

    /// What the target says that it holds.
    pub(super) async fn account(&self) -> Reading<TargetAccount> {
        match (self.abilities.account, &self.client) {
            (AccountSource::Interface, Some(client)) => {
                // Answering takes code and heap of the target, too. The first answer brings them in, the second counts them.
                let _ = client.memory(ACCOUNT_LIMIT).await;
                match client.memory(ACCOUNT_LIMIT).await {
                    Ok(report) => Reading::Measured(report.into()),
                    Err(error) => Reading::Unavailable(error.to_string()),
                }
            }
            (AccountSource::Interface, None) => Reading::Unavailable("the target has no address".to_owned()),
            (AccountSource::Log(kind), _) => TargetAccount::of_log(kind, &self.log),
            (AccountSource::Nowhere, _) => {
                let why = self.target.no_answer(&Question::Classes);
                Reading::Unavailable(
                    why.unwrap_or_else(|| "the target does not say what it holds".to_owned()),
                )
            }
        }
    }

    fn client(&self) -> Result<&Client, Stop> {
        self.client.as_ref().ok_or_else(|| Stop::Failed("the target has no address".to_owned()))
    }

    async fn first_token(
        &mut self,
        phase: Phase,
        prompt_tokens: PromptTokens,
        output: Tokens,
        hold: bool,
        deadline: Deadline,
    ) -> Result<OpenStream, Stop> {
        let settings = &self.cell.settings;
        let length = self.prompt_length(prompt_tokens.resolve(settings.max_input_len));
        let room = settings.max_kv_cache_capacity.0.saturating_sub(length.0 + output.0);
        let held = if hold && self.abilities.can_hang_up { HELD_TOKENS.0.min(room) } else { 0 };
        let ids = prompt(self.seed, self.sent, length, self.engine);
        self.sent += 1;
        let request = CompletionRequest {
            model: &self.cell.model,
            prompt: &ids,
            max_tokens: output.0 + held,
            seed: self.seed,
        };
        let sent_at = self.clock.now();
        let (arrivals, first) = self
            .guarded(deadline, async {
                let answer = self.client()?.complete(&request).await;
                let stream = answer.map_err(|error| Stop::Failed(error.to_string()))?;
                let mut arrivals = Arrivals::of(stream, self.clock);
                match arrivals.next().await.map_err(Stop::Failed)? {
                    Some(first) => Ok((arrivals, first)),
                    None => Err(Stop::Failed("the stream ended before its first token".to_owned())),
                }
            })
            .await?;
        Ok(OpenStream { arrivals, phase, prompt: self.counted(&ids), sent_at, first, last: first })
    }

    /// How many of `wanted` tokens a prompt gets: a chat's template has some of its own, which must find room.
    fn prompt_length(&self, wanted: Tokens) -> Tokens {
        let limit = self.cell.settings.max_input_len.0;
        match self.interface {
            Interface::Completions => wanted,
            Interface::Chat(_) => Tokens(wanted.0.min(limit.saturating_sub(TEMPLATE_TOKENS)).max(1)),
        }
    }

    /// Tokens of the prompt of `ids`, the template's left out: words where nobody can count them.
    fn counted(&self, ids: &[u32]) -> Tokens {
        let words_sent = Tokens(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        match &self.interface {
            Interface::Chat(Some(counter)) => counter.count(&words(ids)).unwrap_or(words_sent),
            Interface::Chat(None) | Interface::Completions => words_sent,
        }
    }

    /// Reads until there are `wanted` tokens, or no more.
    async fn read_until(&self, open: &mut OpenStream, wanted: u32, deadline: Deadline) -> Result<(), Stop> {
        while open.last.tokens < wanted {
            let next =
                self.guarded(deadline, async { open.arrivals.next().await.map_err(Stop::Failed) }).await?;
            let Some(next) = next else { break };
            open.last = next;
        }
        Ok(())
    }
}

/// Stands for the ending until the child has been waited for.
const UNKNOWN_ENDING: crate::target::Ending = crate::target::Ending { signal: None, exit_code: None };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_token_is_over_the_tokens_that_came() {
        let arrival = |tokens, ms| Arrival { tokens, at: Micros(ms * 1000), speculation: None };
        let time = |first: (u32, u64), last: (u32, u64), counted| {
            time_per_token(arrival(first.0, first.1), arrival(last.0, last.1), counted)
        };
        assert_eq!(time((1, 100), (8, 170), 8), Reading::Measured(Millis(10.0)));
        // 8 tokens were wanted, and the round that brought the eighth brought three.
        assert_eq!(time((1, 100), (10, 190), 8), Reading::Measured(Millis(10.0)));
        // The first round brought more than one.
        assert_eq!(time((3, 100), (9, 160), 8), Reading::Measured(Millis(10.0)));
        for (first, last, counted) in
            [((1, 100), (1, 100), 1), ((4, 100), (4, 100), 4), ((1, 100), (4, 101), 4)]
        {
            assert!(matches!(time(first, last, counted), Reading::Unavailable(_)), "{counted}");
        }
    }
}
