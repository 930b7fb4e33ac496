//! An engine that follows a script, and a server around it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger::Tokens;
use runtime::generate::chat_template::ChatTemplate;
use runtime::generate::tokenizer::{Tokenizer, compile};
use serde_json::json;
use server::*;

/// What the engine writes, over and over.
pub(crate) const SCRIPT: &str = "one two thrée ";
/// The stop id, which comes after each run of the script.
pub(crate) const END: u32 = 256;
/// A prompt that begins with this makes the engine panic.
pub(crate) const PANIC: u32 = 250;
/// A prompt that begins with this makes the engine fail after two tokens.
pub(crate) const FAIL: u32 = 251;
/// A prompt that begins with this finds no memory.
pub(crate) const NO_ROOM: u32 = 252;
/// Ids are below this.
pub(crate) const VOCABULARY: u32 = 260;
/// The longest prompt, and prompt and completion together.
pub(crate) const LONGEST: (u32, u32) = (64, 80);

/// How a test watches and holds the engine.
#[derive(Default)]
pub(crate) struct Control {
    /// How many tokens the engine may still make; `None` is no limit.
    permits: Mutex<Option<usize>>,
    changed: Condvar,
    /// The prompts that were started.
    pub(crate) prompts: Mutex<Vec<Vec<u32>>>,
    /// Tokens made, over all requests.
    pub(crate) made: AtomicUsize,
    /// Generations that ended, in whatever way.
    pub(crate) ended: AtomicUsize,
    /// Requests that run together.
    pub(crate) batch: AtomicUsize,
    /// Drafts in each step.
    pub(crate) drafts: AtomicUsize,
    /// The most requests of a step so far.
    pub(crate) largest_step: AtomicUsize,
    /// The most places that were taken at a time.
    pub(crate) most_open: AtomicUsize,
}

impl Control {
    /// Lets the engine make so many tokens more; `None` lifts the limit.
    pub(crate) fn permit(&self, tokens: Option<usize>) {
        *self.permits.lock().unwrap() = tokens;
        self.changed.notify_all();
    }

    /// Waits until `holds`; a test that waits in vain fails after a long time.
    pub(crate) fn wait_until(&self, holds: impl Fn(&Control) -> bool) {
        for _ in 0..6000 {
            if holds(self) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("what was waited for did not happen");
    }

    pub(crate) fn started(&self) -> usize {
        self.prompts.lock().unwrap().len()
    }

    /// Takes a permit; `false` once the request is cancelled.
    fn take_permit(&self, cancelled: &dyn Fn() -> bool) -> bool {
        let mut permits = self.permits.lock().unwrap();
        loop {
            match *permits {
                _ if cancelled() => return false,
                None => return true,
                Some(0) => permits = self.changed.wait_timeout(permits, Duration::from_millis(5)).unwrap().0,
                Some(left) => {
                    *permits = Some(left - 1);
                    return true;
                }
            }
        }
    }
}

/// The engine.
pub(crate) struct Fake {
    pub(crate) control: Arc<Control>,
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    pub(crate) chat_template: Option<Arc<ChatTemplate>>,
    /// For each place that is taken, the first token of its prompt and how many tokens were made.
    pub(crate) made: HashMap<usize, (u32, usize)>,
}

impl TextEngine for Fake {
    fn max_prompt_tokens(&self) -> Tokens {
        Tokens(LONGEST.0)
    }

    fn max_context(&self) -> Tokens {
        Tokens(LONGEST.1)
    }

    fn vocabulary_size(&self) -> u32 {
        VOCABULARY
    }

    fn tokenizer(&self) -> Option<Arc<Tokenizer>> {
        self.tokenizer.clone()
    }

    fn chat_template(&self) -> Option<Arc<ChatTemplate>> {
        self.chat_template.clone()
    }

    fn stop_ids(&self) -> &[u32] {
        &[END]
    }

    fn max_batch(&self) -> usize {
        self.control.batch.load(Ordering::SeqCst).max(1)
    }

    fn begin(
        &mut self,
        place: usize,
        prompt: &[u32],
        _: &GenerateOptions,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<u32>, GenerateError> {
        assert!(!self.made.contains_key(&place), "place {place} is taken");
        self.made.insert(place, (prompt[0], 0));
        self.control.most_open.fetch_max(self.made.len(), Ordering::SeqCst);
        self.control.prompts.lock().unwrap().push(prompt.to_vec());
        std::thread::sleep(PREFILL);
        assert_ne!(prompt[0], PANIC, "the prompt asks for a panic");
        if prompt[0] == NO_ROOM {
            return Err(GenerateError::NoMemory { reason: "cannot commit 10.0 MiB".to_owned() });
        }
        self.make(place, cancelled)
    }

    fn step(&mut self, turns: &[Turn<'_>]) -> Result<Vec<Step>, GenerateError> {
        self.control.largest_step.fetch_max(turns.len(), Ordering::SeqCst);
        let steps = turns.iter().map(|turn| {
            let mut tokens = Vec::new();
            let drafts = self.control.drafts.load(Ordering::SeqCst);
            // Every draft is right, and there may be more tokens than are wanted.
            for _ in 0..=drafts {
                tokens.extend(self.make(turn.place, turn.cancelled)?);
            }
            let drafted = Drafted { drafts: tokens[..tokens.len().min(drafts)].to_vec(), accepted: drafts };
            Ok(Step { tokens, drafted: (drafts > 0).then_some(drafted) })
        });
        steps.collect()
    }

    fn end(&mut self, place: usize) {
        if self.made.remove(&place).is_some() {
            self.control.ended.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// How long the engine reads a prompt at least.
pub(crate) const PREFILL: Duration = Duration::from_millis(2);

impl Fake {
    /// The next token of the request in `place`; `None` once it is cancelled.
    fn make(&mut self, place: usize, cancelled: &dyn Fn() -> bool) -> Result<Option<u32>, GenerateError> {
        let (first, made) = self.made.get_mut(&place).expect("the place has a request");
        if *first == FAIL && *made == 2 {
            return Err(GenerateError::Engine { reason: "the prompt asks for a failure".to_owned() });
        }
        if !self.control.take_permit(cancelled) {
            return Ok(None);
        }
        let token = SCRIPT.bytes().map(u32::from).chain([END]).cycle().nth(*made);
        *made += 1;
        self.control.made.fetch_add(1, Ordering::SeqCst);
        Ok(token)
    }
}

/// The 256 bytes, and an end marker.
pub(crate) fn tokenizer() -> Arc<Tokenizer> {
    let mut vocab = serde_json::Map::new();
    let mut shifted = 0x100;
    for byte in 0..=255_u8 {
        let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        let character = if printable { char::from(byte) } else { char::from_u32(shifted).unwrap() };
        shifted += u32::from(!printable);
        vocab.insert(character.to_string(), json!(byte));
    }
    let source = json!({
        "added_tokens": [{"id": END, "content": "<|im_end|>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    Arc::new(Tokenizer::open(compile(source.to_string().as_bytes(), None).unwrap()).unwrap())
}

const TEMPLATE: &str = "{% for message in messages %}\
    {% if message.role == 'critic' %}{{ raise_exception('no critics') }}{% endif %}\
    {{ message.role }}:{{ message.content }};\
    {% if message.tool_calls %}{{ message.tool_calls[0].function.arguments.city }};{% endif %}{% endfor %}\
    {% if tools %}{{ tools[0].function.name }};{% endif %}{% if enable_thinking is false %}!{% endif %}";

pub(crate) fn engine(control: &Arc<Control>) -> Fake {
    let template = ChatTemplate::from_checkpoint(Some(TEMPLATE), None).unwrap();
    Fake {
        control: control.clone(),
        tokenizer: Some(tokenizer()),
        chat_template: template.map(Arc::new),
        made: HashMap::new(),
    }
}

pub(crate) fn no_memory() -> MemoryHandle {
    Arc::new(|| None)
}

pub(crate) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A running server; it stops when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) control: Arc<Control>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::start_with(ServeOptions::new(any_port(), "fake"), no_memory(), engine)
    }

    pub(crate) fn start_with(
        options: ServeOptions,
        memory: MemoryHandle,
        engine: impl FnOnce(&Arc<Control>) -> Fake + Send + 'static,
    ) -> Server {
        let control = Arc::new(Control::default());
        let own_control = control.clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (listening, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let load = move || Ok::<_, Infallible>(Box::new(engine(&own_control)) as Box<dyn TextEngine>);
            let stop = async {
                let _ = stopped.await;
                Ok(())
            };
            serve_until(options, load, memory, |address| listening.send(address).unwrap(), stop)
        });
        let address = address.recv().unwrap();
        let server = Server { address, control, stop: Some(stop), thread: Some(thread) };
        server.control.wait_until(|_| server.get("/health").status == 200);
        server
    }

    /// Stops the server and returns how it ended.
    pub(crate) fn stop(mut self) -> Result<(), ServeError> {
        self.stop.take();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
