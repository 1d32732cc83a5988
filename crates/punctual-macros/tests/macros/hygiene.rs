//! Where the macro may stand, and what may be in scope there.

use punctual::task::TaskFunction;
use punctual::testing::TestScheduler;

/// All that a module may call otherwise.
mod shadowed {
    #![allow(dead_code, unused_macros, clippy::upper_case_acronyms)]

    use ::punctual::prelude::{RunContext, State, task};

    pub(super) struct Result;
    pub(super) struct Vec;
    pub(super) struct Box;
    pub(super) struct Clone;
    pub(super) struct Into;
    pub(super) struct Argument;
    pub(super) struct JobArgs;
    pub(super) trait Send {}
    pub(super) trait Serialize {}
    mod core {}
    mod std {}
    mod serde {}
    mod punctual {}
    fn input() -> u8 {
        7
    }
    fn call() -> u8 {
        8
    }

    #[derive(::serde::Serialize, ::serde::Deserialize)]
    pub(super) struct String(u8);

    #[task]
    pub(super) async fn work(
        #[default = input()] input: u8,
        #[default = call()] end: u8,
        error: String,
        given: ::core::option::Option<u8>,
        state: State<u64>,
        run: RunContext,
    ) -> ::core::result::Result<(), &'static str> {
        run.log(&format!("{input} {end} {} {given:?} {}", error.0, *state));
        Ok(())
    }

    pub(super) fn call_of_work() -> work {
        work(String(9)).given(1)
    }
}

mod nested {
    pub(crate) mod deeper {
        #[punctual::task]
        pub(in crate::hygiene) async fn within(days: u32) -> Result<u32, String> {
            Ok(days)
        }
    }
}

/// As a crate that has the scheduler in it for others would have it.
mod reexport {
    pub(crate) use punctual as scheduling;
}

#[reexport::scheduling::task(crate = "crate::hygiene::reexport::scheduling")]
fn renamed(text: String) -> Result<String, String> {
    Ok(text)
}

macro_rules! tasks {
    ($($name:ident($argument:ident: $type:ty = $default:expr)),*) => { $(
        #[punctual::task]
        async fn $name(#[default = $default] $argument: $type) -> Result<$type, String> {
            Ok($argument)
        }
    )* };
}

tasks!(small(size: u8 = 1 + 1), large(name: String = "large"), maybe(other: Option<u8> = None));

#[cfg(any())]
mod absent {
    #[punctual::task]
    #[cfg(any())]
    async fn nothing(nonsense: Nonsense) {}
}

#[punctual::task]
#[cfg(any())]
async fn conditional() {}

#[punctual::task]
#[cfg(not(any()))]
async fn conditional() {}

/// Attributes stay with the function.
#[punctual::task]
#[deprecated = "call `tidy`"]
#[expect(clippy::unused_async, unused_variables, reason = "a test")]
async fn old(days: u32) {}

/// What the only run of a task wrote.
fn output<T: TaskFunction>(call: T) -> String {
    let builder = punctual::scheduler::Scheduler::builder().state(5_u64);
    let scheduler = TestScheduler::start(builder.register::<T>().unwrap()).unwrap();
    scheduler.add(call).id("it").wait().unwrap();
    let run = scheduler.runs_of("it").remove(0);
    run.error.or(run.output).unwrap_or_default()
}

#[test]
fn holds_everywhere() {
    #[punctual::task]
    async fn in_a_function(days: u32) -> Result<u32, String> {
        Ok(days)
    }

    assert_eq!(output(in_a_function(3)), "3\n");
    assert_eq!(output(shadowed::call_of_work()), "7 8 9 Some(1) 5\n");
    assert_eq!(output(nested::deeper::within(4)), "4\n");
    assert_eq!(output(renamed("text")), "\"text\"\n");
    assert_eq!(output(small()), "2\n");
    assert_eq!(output(large()), "\"large\"\n");
    assert_eq!(output(maybe()), "");
    assert_eq!(output(conditional()), "");
    #[expect(deprecated, reason = "a test")]
    let old = old(1);
    assert_eq!(output(old), "");
}
