//! From an attribute and a function to code, or to what is wrong with them.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Error, LitStr, Result};

use crate::attribute::{Attribute, DeclaredJob};
use crate::near::{list, nearest};
use crate::parameter::Argument;
use crate::signature::{Task, combine};

/// What `#[task(attribute)] item` becomes.
pub(crate) fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let (attribute, mut errors) = Attribute::parse(attribute);
    let task = match Task::parse(item) {
        Ok(task) => task,
        Err(error) => {
            errors.push(error);
            return said(errors);
        }
    };
    let mut expansion = Expansion::new(&attribute, &task);
    if let Err(error) = expansion.check(&attribute) {
        errors.push(error);
    }
    if !errors.is_empty() {
        // A job that cannot be declared is no reason to lose the task: that would be an error wherever it is named.
        expansion.job = None;
    }
    let code = expansion.code();
    let said = said(errors);
    quote!(#said #code)
}

fn said(errors: Vec<Error>) -> TokenStream {
    combine(errors).map_or_else(TokenStream::new, Error::into_compile_error)
}

/// What the code is written from.
pub(crate) struct Expansion<'a> {
    pub(crate) task: &'a Task,
    /// The job that the task declares.
    pub(crate) job: Option<&'a DeclaredJob>,
    /// The façade's `__private`.
    pub(crate) private: TokenStream,
    /// The name of the function, and of the type.
    pub(crate) ident: &'a Ident,
    /// The task's name.
    pub(crate) name: String,
    pub(crate) is_local: bool,
}

impl<'a> Expansion<'a> {
    fn new(attribute: &'a Attribute, task: &'a Task) -> Self {
        let krate = &attribute.krate;
        let given = attribute.name.as_ref();
        Self {
            task,
            job: attribute.job.as_ref(),
            private: quote!(#krate::__private),
            ident: &task.function.signature.ident,
            name: given.map_or_else(|| task.name(), LitStr::value),
            is_local: attribute.local.is_some() && task.is_async(),
        }
    }

    /// Checks what the attribute and the function have to agree on.
    fn check(&self, attribute: &Attribute) -> Result<()> {
        let mut errors = Vec::new();
        if let Some(local) = attribute.local
            && !self.task.is_async()
        {
            let message = "a local task is async: it shares its thread with others; make the function `async`, or remove `local`";
            errors.push(Error::new(local, message));
        }
        if let Some(job) = self.job {
            self.check_job(job, &mut errors);
        }
        combine(errors).map_or(Ok(()), Err)
    }

    fn check_job(&self, job: &DeclaredJob, errors: &mut Vec<Error>) {
        let names: Vec<_> = self.task.arguments().map(Argument::name).collect();
        let known = || names.iter().map(String::as_str);
        for (i, (given, _)) in job.args.iter().enumerate() {
            if job.args[..i].iter().any(|(earlier, _)| earlier == given) {
                let message = format!("`{given}` is given twice");
                errors.push(Error::new(given.span(), message));
            }
            if self.task.arguments().any(|argument| argument.is(given)) {
                continue;
            }
            let message = match nearest(&given.to_string(), known()) {
                Some(guess) => format!(
                    "`{}` has no argument `{given}`; did you mean `{guess}`?",
                    self.ident
                ),
                None => format!(
                    "`{}` has no argument `{given}`; it takes {}",
                    self.ident,
                    list(known())
                ),
            };
            errors.push(Error::new(given.span(), message));
        }
        for argument in self.task.required() {
            let is_given = job.args.iter().any(|(given, _)| argument.is(given));
            if !is_given {
                let message = format!(
                    "the job that `{key}` declares does not give `{name}`; write `args({name} = …)` in `#[task(…)]`, or `#[default = …]` before the argument",
                    key = job.schedule.kind.key(),
                    name = argument.ident,
                );
                errors.push(Error::new(argument.ident.span(), message));
            }
        }
    }
}
