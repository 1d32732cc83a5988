//! The function under `#[task]`.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Error, Item, Result, ReturnType, Safety, Signature, Type, Visibility, parse_quote,
};

use crate::parameter::{Argument, Parameter};

/// A function whose body is nobody's business: what is wrong there is the compiler's to say.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenStream,
}

impl Parse for Function {
    fn parse(input: ParseStream) -> Result<Self> {
        Ok(Self {
            attributes: input.call(Attribute::parse_outer)?,
            visibility: input.parse()?,
            signature: input.parse()?,
            body: input.parse()?,
        })
    }
}

/// A task, as its function describes it.
pub(crate) struct Task {
    /// The function, without what was said to the macro.
    pub(crate) function: Function,
    pub(crate) parameters: Vec<Parameter>,
}

impl Task {
    /// Reads the function.
    pub(crate) fn parse(item: TokenStream) -> Result<Self> {
        let mut function: Function = match syn::parse2(item.clone()) {
            Ok(function) => function,
            Err(error) => return Err(no_function(item, error)),
        };
        let mut errors = Vec::new();
        check(&function.signature, &mut errors);
        let mut parameters = Vec::new();
        for input in &mut function.signature.inputs {
            match Parameter::parse(input) {
                Ok(parameter) => parameters.push(parameter),
                Err(error) => errors.push(error),
            }
        }
        let task = Self {
            function,
            parameters,
        };
        task.check_setters(&mut errors);
        combine(errors).map_or(Ok(task), Err)
    }

    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Argument> {
        self.parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::Argument(argument) => Some(&**argument),
                Parameter::Injected(_) => None,
            })
    }

    /// What a job must give.
    pub(crate) fn required(&self) -> impl Iterator<Item = &Argument> {
        self.arguments().filter(|argument| argument.is_required())
    }

    /// What it may give.
    pub(crate) fn optional(&self) -> impl Iterator<Item = &Argument> {
        self.arguments().filter(|argument| !argument.is_required())
    }

    pub(crate) fn injected(&self) -> impl Iterator<Item = &Type> {
        self.parameters
            .iter()
            .filter_map(|parameter| match parameter {
                Parameter::Argument(_) => None,
                Parameter::Injected(ty) => Some(&**ty),
            })
    }

    pub(crate) fn is_async(&self) -> bool {
        self.function.signature.asyncness.is_some()
    }

    /// The task's name, unless it is given another.
    pub(crate) fn name(&self) -> String {
        self.function.signature.ident.unraw().to_string()
    }

    /// What the function returns.
    pub(crate) fn output(&self) -> Type {
        match &self.function.signature.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        }
    }

    /// A setter would stand in the way of the function itself.
    fn check_setters(&self, errors: &mut Vec<Error>) {
        if let Some(argument) = self.optional().find(|argument| argument.name() == "call") {
            let message = format!(
                "`{}::call` is the function itself; give the argument another name",
                self.name()
            );
            errors.push(Error::new(argument.ident.span(), message));
        }
    }
}

fn check(signature: &Signature, errors: &mut Vec<Error>) {
    let mut refuse = |tokens: &dyn ToTokens, message| {
        errors.push(Error::new_spanned(tokens, message));
    };
    if let Some(token) = &signature.constness {
        refuse(token, "a task is not `const`: it runs when it is due");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        let message = "a task is not `unsafe`: whoever adds a job cannot know what it has to keep; check it in the function's body";
        refuse(token, message);
    }
    if let Some(abi) = &signature.abi {
        let message =
            "a task has Rust's own calling convention: nobody else calls it; remove `extern`";
        refuse(abi, message);
    }
    if let Some(variadic) = &signature.variadic {
        let message = "a task takes a fixed number of arguments; take a `Vec` for many";
        refuse(variadic, message);
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() {
        let message = "a task is not generic: jobs call it by one name, with JSON; write a task for each type, that calls a generic function";
        refuse(&generics.params, message);
    } else if let Some(clause) = &generics.where_clause {
        refuse(clause, "a task is not generic: remove the `where` clause");
    }
}

fn no_function(item: TokenStream, error: Error) -> Error {
    match syn::parse2::<Item>(item) {
        Ok(Item::Fn(_) | Item::Verbatim(_)) | Err(_) => error,
        Ok(other) => Error::new_spanned(
            other,
            "`#[task]` goes on a function: `#[task] async fn cleanup(days: u32) { … }`",
        ),
    }
}

/// All errors as one, so that all are shown.
pub(crate) fn combine(errors: Vec<Error>) -> Option<Error> {
    errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    })
}
