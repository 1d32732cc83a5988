//! What stands in `#[task(…)]`.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, Ident, Lit, LitStr, Path, Result, Token, parse_quote};

use crate::near::{list, nearest};
use crate::schedule::{Kind, Schedule};

const KEYS: [&str; 10] = [
    "name", "id", "cron", "crontab", "every", "at", "timezone", "args", "local", "crate",
];

/// Setters of a new job that are keys of a declared one, each with an example of its value.
const OPTIONS: [(&str, &str); 10] = [
    ("executor", "\"reports\""),
    ("job_store", "\"reports\""),
    ("misfire_grace_time", "Duration::from_secs(30)"),
    ("coalesce", "Coalesce::Off"),
    ("max_instances", "2"),
    ("overlap", "Overlap::QueueOne"),
    ("retry", "Retry::fixed(3, Duration::from_secs(5))"),
    ("timeout", "Duration::from_mins(5)"),
    ("on_crash", "OnCrash::GiveUp"),
    ("tag", "\"reports\""),
];

fn keys() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().chain(OPTIONS.map(|(key, _)| key))
}

/// Most characters of a task's name or a job's id, as the scheduler has it.
const NAME_CHARS_MAX: usize = 191;

/// What `#[task(…)]` says.
pub(crate) struct Attribute {
    /// The façade, as the code that is written reaches it.
    pub(crate) krate: Path,
    pub(crate) name: Option<LitStr>,
    /// Where it says `local`.
    pub(crate) local: Option<Span>,
    /// The job that the code declares.
    pub(crate) job: Option<DeclaredJob>,
}

/// A job that the code declares.
pub(crate) struct DeclaredJob {
    pub(crate) id: Option<LitStr>,
    pub(crate) schedule: Schedule,
    pub(crate) args: Vec<(Ident, Expr)>,
    /// Setters of the new job, with their values.
    pub(crate) options: Vec<(Ident, Expr)>,
}

impl Default for Attribute {
    fn default() -> Self {
        Self {
            krate: parse_quote!(::punctual),
            name: None,
            local: None,
            job: None,
        }
    }
}

/// The keys as they come.
#[derive(Default)]
struct Keys {
    seen: Vec<Ident>,
    krate: Option<Path>,
    name: Option<LitStr>,
    id: Option<LitStr>,
    timezone: Option<LitStr>,
    args: Vec<(Ident, Expr)>,
    options: Vec<(Ident, Expr)>,
    schedule: Option<(Kind, LitStr)>,
    errors: Vec<Error>,
}

impl Attribute {
    /// Reads the attribute. What can be understood of it is understood, so that one mistake gives one error.
    pub(crate) fn parse(tokens: TokenStream) -> (Self, Vec<Error>) {
        let mut keys = Keys::default();
        let read = |input: ParseStream| {
            while !input.is_empty() {
                keys.key(input)?;
                if !input.is_empty() {
                    input.parse::<Token![,]>()?;
                }
            }
            Ok(())
        };
        if let Err(error) = read.parse2(tokens) {
            keys.errors.push(error);
        }
        keys.finish()
    }
}

impl Keys {
    fn key(&mut self, input: ParseStream) -> Result<()> {
        if input.peek(LitStr) {
            return Err(input.error("a text needs a key: `name = \"…\"`"));
        }
        let key = input.call(Ident::parse_any)?;
        let word = key.to_string();
        if self.seen.contains(&key) && word != "tag" {
            self.errors
                .push(Error::new(key.span(), format!("`{word}` is given twice")));
        }
        self.seen.push(key.clone());
        if let Some(kind) = Kind::of(&word) {
            let text = text(&key, input, kind.example())?;
            self.schedule(&key, kind, text);
            return Ok(());
        }
        if let Some((_, example)) = OPTIONS.iter().find(|(option, _)| *option == word) {
            if !input.peek(Token![=]) {
                let message = format!("`{word}` takes a value: `{word} = {example}`");
                return Err(Error::new(key.span(), message));
            }
            input.parse::<Token![=]>()?;
            self.options.push((key, input.parse()?));
            return Ok(());
        }
        match word.as_str() {
            "name" => self.name = Some(text(&key, input, "mail:remind")?),
            "id" => self.id = Some(text(&key, input, "nightly")?),
            "timezone" => self.timezone = Some(text(&key, input, "Europe/Paris")?),
            "crate" => self.krate = Some(text(&key, input, "crate::punctual")?.parse()?),
            "local" => {}
            "args" => self.args(input)?,
            _ => {
                self.errors.push(unknown(&key));
                skip_value(input)?;
            }
        }
        Ok(())
    }

    fn schedule(&mut self, key: &Ident, kind: Kind, text: LitStr) {
        match &self.schedule {
            None => self.schedule = Some((kind, text)),
            Some((first, _)) if *first == kind => {} // said as given twice
            Some((first, _)) => self.errors.push(Error::new(
                key.span(),
                format!(
                    "`{}` and `{key}` both say when; a task declares one job: give one of them, and add other jobs with `scheduler.add`",
                    first.key()
                ),
            )),
        }
    }

    fn args(&mut self, input: ParseStream) -> Result<()> {
        let content;
        syn::parenthesized!(content in input);
        while !content.is_empty() {
            let name = content.call(Ident::parse_any)?;
            content.parse::<Token![=]>()?;
            let value = content.parse()?;
            self.args.push((name, value));
            if !content.is_empty() {
                content.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> (Attribute, Vec<Error>) {
        self.check_names();
        let mut attribute = Attribute {
            name: self.name,
            local: self
                .seen
                .iter()
                .find(|key| *key == "local")
                .map(Ident::span),
            ..Attribute::default()
        };
        if let Some(krate) = self.krate {
            attribute.krate = krate;
        }
        match self.schedule {
            Some((kind, text)) => match Schedule::read(kind, &text, self.timezone.as_ref()) {
                Ok(schedule) if attribute.local.is_none() => {
                    attribute.job = Some(DeclaredJob {
                        id: self.id,
                        schedule,
                        args: self.args,
                        options: self.options,
                    });
                }
                Ok(_) => {
                    let message = format!(
                        "a local task declares no job, for its executor is given to the scheduler apart from it; remove `{}`, and add the job with `scheduler.add(…)`",
                        kind.key()
                    );
                    let key = self.seen.iter().find(|key| *key == kind.key());
                    let span = key.map_or_else(Span::call_site, Ident::span);
                    self.errors.push(Error::new(span, message));
                }
                Err(error) => self.errors.push(error),
            },
            // A schedule that could not be read is error enough.
            None if self.errors.is_empty() => {
                let needs_job = |key: &&Ident| {
                    let options = OPTIONS.iter().map(|(option, _)| option);
                    let mut all = ["id", "timezone", "args"].iter().chain(options);
                    all.any(|word| *key == word)
                };
                for key in self.seen.iter().filter(needs_job) {
                    self.errors.push(Error::new(
                        key.span(),
                        format!("`{key}` goes with a schedule, which makes the task declare a job: `cron`, `crontab`, `every` or `at`"),
                    ));
                }
            }
            None => {}
        }
        (attribute, self.errors)
    }

    fn check_names(&mut self) {
        let texts = [
            ("a task's name", &self.name, true),
            ("a job's id", &self.id, false),
        ];
        for (what, text, is_task) in texts {
            let Some(literal) = text else { continue };
            let text = literal.value();
            let problem = if text.is_empty() || text.chars().count() > NAME_CHARS_MAX {
                format!("{what} has 1 to {NAME_CHARS_MAX} characters")
            } else if text.chars().any(char::is_control) {
                format!("{what} has no control characters")
            } else if is_task && text.starts_with("punctual:") {
                "names that begin with \"punctual:\" are reserved".to_owned()
            } else {
                continue;
            };
            self.errors.push(Error::new(literal.span(), problem));
        }
    }
}

fn text(key: &Ident, input: ParseStream, example: &str) -> Result<LitStr> {
    let wanted = format!("`{key}` takes a text: `{key} = {example:?}`");
    if !input.peek(Token![=]) {
        return Err(Error::new(key.span(), wanted));
    }
    input.parse::<Token![=]>()?;
    match input.parse()? {
        Expr::Lit(syn::ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Ok(text),
        other => Err(Error::new_spanned(other, wanted)),
    }
}

fn unknown(key: &Ident) -> Error {
    let word = key.unraw().to_string();
    let usual = match word.as_str() {
        "tz" | "zone" | "time_zone" => Some("timezone"),
        "interval" | "seconds" | "minutes" | "hours" | "days" => Some("every"),
        "date" | "run_date" | "run_at" | "once" => Some("at"),
        "schedule" | "trigger" | "hour" | "minute" | "second" | "day" | "day_of_week" | "month" => {
            Some("cron")
        }
        "kwargs" | "arguments" | "with" => Some("args"),
        "task" => Some("name"),
        "job_id" | "job" => Some("id"),
        "jobstore" | "store" => Some("job_store"),
        "grace" | "misfire" => Some("misfire_grace_time"),
        "retries" | "attempts" => Some("retry"),
        "tags" => Some("tag"),
        _ => None,
    };
    let guess = usual.or_else(|| nearest(&word, keys()));
    let message = match guess {
        Some("cron") => "unknown key; did you mean `cron = \"hour=3 minute=30\"`?".to_owned(),
        Some("args") => "unknown key; did you mean `args(name = value)`?".to_owned(),
        Some(guess) => format!("unknown key; did you mean `{guess}`?"),
        None if ["blocking", "sync"].contains(&word.as_str()) => {
            "unknown key; it is not needed: a function that is not async runs on a thread that may block".to_owned()
        }
        None => format!("unknown key; the keys are {}", list(keys())),
    };
    Error::new(key.span(), message)
}

/// What follows a key that is not known.
fn skip_value(input: ParseStream) -> Result<()> {
    if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        input.parse::<Expr>()?;
    } else if input.peek(syn::token::Paren) {
        let content;
        syn::parenthesized!(content in input);
        content.parse::<TokenStream>()?;
    }
    Ok(())
}
