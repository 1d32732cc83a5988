//! What the workers can do, good and bad.
#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "parameters are made for a task, and only what a `Result` holds is recorded"
)]

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use punctual_core::executor::ProcessPoolExecutor;
use punctual_core::task::{Args, RegisterError, Registry, RunContext, State, TaskEnd};
use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use serde_json::{Value, json};

struct Greeting {
    word: String,
    made_in: u32,
}

pub(crate) fn tasks() -> Result<Registry, RegisterError> {
    let mut registry = Registry::new();
    registry.state(Greeting {
        word: "good morning".to_owned(),
        made_in: std::process::id(),
    });
    registry.add_blocking("echo", echo)?;
    registry.add_blocking("length", length)?;
    registry.add_blocking("greet", greet)?;
    registry.add_blocking("pid", || Ok::<_, String>(std::process::id()))?;
    registry.add_blocking("row", row)?;
    registry.add_blocking("end", end)?;
    registry.add_blocking("busy", busy)?;
    registry.add_blocking("parent_of_busy", parent_of_busy)?;
    registry.add_blocking("wait_for", wait_for)?;
    registry.add_blocking("polite", polite)?;
    registry.add_blocking("head_count", head_count)?;
    registry.add_blocking("leave_behind", leave_behind)?;
    registry.add_blocking("flood", flood)?;
    registry.add_blocking("long_error", |Args(bytes): Args<usize>| {
        Err::<(), _>("x".repeat(bytes))
    })?;
    registry.add_blocking("stdin", stdin)?;
    registry.add_blocking("start_program", start_program)?;
    registry.add_blocking("nested_pool", || {
        ProcessPoolExecutor::new(1);
    })?;
    registry.add_blocking("nothing", || ())?;
    registry.add("async_sleep", async_sleep)?;
    registry.add("async_panic", async_panic)?;
    registry.add("async_polite", async_polite)?;
    registry.add("background", background)?;
    Ok(registry)
}

fn echo(Args(value): Args<Value>) -> Result<Value, String> {
    Ok(value)
}

fn length(Args(text): Args<String>) -> Result<usize, String> {
    Ok(text.len())
}

fn greet(Args(name): Args<String>, greeting: State<Greeting>) -> Result<String, String> {
    assert_eq!(greeting.made_in, std::process::id());
    Ok(format!("{}, {name}", greeting.word))
}

/// The run as it arrived.
fn row(run: RunContext) -> Result<Value, String> {
    let row = run.run();
    Ok(json!({
        "id": row.id.to_string(),
        "key": run.idempotency_key(),
        "state": row.state(),
        "fence": row.fence.0,
        "node": row.node.map(|node| node.0),
        "attempt": row.attempt,
        "job": run.job().id.as_str(),
        "tags": run.job().tags,
        "lease": run.lease().remaining().is_some(),
    }))
}

/// Says something and ends in a way of the caller's choice.
fn end(Args(how): Args<String>, run: RunContext) -> TaskEnd {
    run.log(&format!("about to end by {how}"));
    match how.as_str() {
        "abort" => std::process::abort(),
        "overflow" => {
            deeper(&[0; 4096], 0);
        }
        "exit" => exit(3),
        "panic" => panic!("it was too much"),
        "memory" => exhaust_memory(),
        "failed" => return TaskEnd::Failed("as asked".to_owned()),
        "timed_out" => return TaskEnd::TimedOut("waited for a lorry".to_owned()),
        signal => {
            let signal = match signal {
                "SIGKILL" => Signal::KILL,
                "SIGSEGV" => Signal::SEGV,
                "SIGBUS" => Signal::BUS,
                "SIGILL" => Signal::ILL,
                "SIGFPE" => Signal::FPE,
                "SIGTERM" => Signal::TERM,
                other => return TaskEnd::Failed(format!("what is {other}?")),
            };
            // Rust takes the first SIGSEGV for a fault that will come again, and lets that one pass.
            loop {
                kill_process(getpid(), signal).expect("a process may signal itself");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    TaskEnd::Succeeded
}

#[expect(clippy::exit, reason = "what this is about")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

#[expect(unconditional_recursion, reason = "what this is about")]
#[inline(never)]
fn deeper(above: &[u8; 4096], level: u64) -> u64 {
    let mut here = *above;
    here[(level % 4096) as usize] = level as u8;
    deeper(std::hint::black_box(&here), level + 1) + u64::from(here[0])
}

/// Takes more memory than a limit of this process allows. In one piece: what is left is for the words about it.
fn exhaust_memory() {
    let limit = Some(1 << 30);
    let limits = Rlimit {
        current: limit,
        maximum: limit,
    };
    setrlimit(Resource::As, limits).expect("a limit may be lowered");
    std::hint::black_box(vec![1_u8; 1 << 30]);
}

fn touch(path: &PathBuf, text: &str) {
    // In one step: whoever waits for the file reads it at once.
    let making = path.with_extension("making");
    std::fs::write(&making, text).expect("the folder is there");
    std::fs::rename(&making, path).expect("the folder is there");
}

/// Says in a file that it works, and listens to nobody.
fn busy(Args(started): Args<PathBuf>) {
    touch(&started, &std::process::id().to_string());
    loop {
        std::hint::spin_loop();
    }
}

/// The same, with a program beside it that it has started; the file names that.
fn parent_of_busy(Args(started): Args<PathBuf>) {
    touch(&started, &sleeper().to_string());
    loop {
        std::hint::spin_loop();
    }
}

fn sleeper() -> u32 {
    let mut sleep = Command::new("sleep");
    let sleep = sleep
        .arg("1000")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    sleep.spawn().expect("there is a sleep").id()
}

/// Says in a file that it works, and works until there is another one.
fn wait_for(Args((started, until)): Args<(PathBuf, PathBuf)>) -> Result<u32, String> {
    touch(&started, &std::process::id().to_string());
    while !until.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(std::process::id())
}

/// How many are at it, with this one.
fn head_count(Args(folder): Args<PathBuf>) -> Result<(u32, usize), String> {
    let process = std::process::id();
    let head = folder.join(process.to_string());
    std::fs::write(&head, "").expect("the folder is there");
    std::thread::sleep(Duration::from_millis(2));
    let heads = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .count();
    std::fs::remove_file(&head).expect("nobody else removes it");
    Ok((process, heads))
}

/// Stops when it is asked to.
fn polite(Args(started): Args<PathBuf>, run: RunContext) -> Result<(), String> {
    touch(&started, &std::process::id().to_string());
    while !run.cancel_token().is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    run.log("it was asked to stop");
    Err("stopped".to_owned())
}

/// Ends in good order, with a program of its own still going.
fn leave_behind() -> Result<u32, String> {
    Ok(sleeper())
}

fn flood(Args(lines): Args<usize>, run: RunContext) {
    run.log("the first line");
    for number in 0..lines {
        run.log(&format!("line {number:08}"));
    }
    run.log("the last line");
}

fn stdin() -> Result<usize, String> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())
}

/// Starts this program as a program, and returns what it says. Its stdin is a socket too, to make it harder.
fn start_program() -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let (_ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
    let mut program = Command::new(program);
    let program = program
        .arg("role:after-the-line")
        .stdin(OwnedFd::from(theirs));
    let output = program.output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// By the timers of tokio where there is one.
async fn async_sleep(Args(millis): Args<u64>) -> Result<u64, String> {
    let duration = Duration::from_millis(millis);
    #[cfg(feature = "tokio")]
    {
        tokio::spawn(tokio::time::sleep(duration))
            .await
            .map_err(|error| error.to_string())?;
    }
    #[cfg(not(feature = "tokio"))]
    async_io::Timer::after(duration).await;
    Ok(millis)
}

async fn async_panic() {
    panic!("it was too much, too");
}

async fn async_polite(Args(started): Args<PathBuf>, run: RunContext) -> Result<(), String> {
    touch(&started, &std::process::id().to_string());
    run.cancel_token().cancelled().await;
    Err("stopped".to_owned())
}

/// Goes on to log after its run has ended.
async fn background(run: RunContext) -> Result<u32, String> {
    std::thread::spawn(move || {
        for number in 0..1_000_000 {
            run.log(&format!("still here, {number}"));
        }
    });
    Ok(std::process::id())
}
