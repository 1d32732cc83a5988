//! One parameter of a task: an argument by its name, or something that the run brings.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{
    Attribute, Error, Expr, FnArg, GenericArgument, Ident, Meta, Pat, PatType, PathArguments,
    Result, Type,
};

/// The types that are injected wherever they stand.
const INJECTED: [&str; 3] = ["State", "RunContext", "Run"];

/// A parameter.
pub(crate) enum Parameter {
    /// Jobs give it.
    Argument(Box<Argument>),
    /// The run brings it: its type.
    Injected(Box<Type>),
}

/// An argument.
pub(crate) struct Argument {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) if_absent: IfAbsent,
}

/// What an argument is where a job does not give it.
pub(crate) enum IfAbsent {
    /// A job has to.
    Required,
    /// An `Option`, and `None`.
    None {
        /// What there is an option of.
        inner: Type,
    },
    /// This.
    Value(Expr),
}

impl Argument {
    /// Its name in a job's arguments.
    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    /// Whether this is its name, spelt with `r#` or without.
    pub(crate) fn is(&self, name: &Ident) -> bool {
        self.ident.unraw() == name.unraw()
    }

    pub(crate) fn is_required(&self) -> bool {
        matches!(self.if_absent, IfAbsent::Required)
    }
}

impl Parameter {
    /// Reads a parameter, and takes away what is said to the macro.
    pub(crate) fn parse(input: &mut FnArg) -> Result<Self> {
        match input {
            FnArg::Receiver(receiver) => Err(Error::new_spanned(
                receiver,
                "a task has no `self`: a job is stored, and calls its task by name; take what the application has as `State<…>`",
            )),
            FnArg::Typed(typed) => Self::typed(typed),
        }
    }

    fn typed(typed: &mut PatType) -> Result<Self> {
        let marks = Marks::take(&mut typed.attrs)?;
        let ty = bare(&typed.ty);
        if marks.is_injected || is_one_of(ty, &INJECTED) {
            if let Some(default) = &marks.default {
                let message =
                    "what is injected has no default: the run brings it; remove `#[default]`";
                return Err(Error::new_spanned(default, message));
            }
            return Ok(Self::Injected(Box::new(ty.clone())));
        }
        let ident = name(&typed.pat)?;
        check_type(ty)?;
        let if_absent = match (marks.default, option_of(ty)) {
            (Some(value), _) => IfAbsent::Value(value),
            (None, Some(inner)) => IfAbsent::None {
                inner: inner.clone(),
            },
            (None, None) => IfAbsent::Required,
        };
        Ok(Self::Argument(Box::new(Argument {
            ident,
            ty: ty.clone(),
            if_absent,
        })))
    }
}

/// What is said to the macro, in front of a parameter.
#[derive(Default)]
struct Marks {
    default: Option<Expr>,
    is_injected: bool,
}

impl Marks {
    fn take(attributes: &mut Vec<Attribute>) -> Result<Self> {
        let mut marks = Self::default();
        let mut others = Vec::new();
        for attribute in attributes.drain(..) {
            let path = attribute.path();
            if path.is_ident("default") {
                let value = default_value(&attribute)?;
                if marks.default.replace(value).is_some() {
                    let message = "the default is given twice";
                    return Err(Error::new_spanned(attribute, message));
                }
            } else if path.is_ident("inject") {
                attribute.meta.require_path_only()?;
                marks.is_injected = true;
            } else if path.is_ident("cfg") || path.is_ident("cfg_attr") {
                let message = "a parameter of a task is there always: nodes have to agree on a task's arguments; put `cfg` on the task";
                return Err(Error::new_spanned(attribute, message));
            } else {
                others.push(attribute);
            }
        }
        *attributes = others;
        Ok(marks)
    }
}

fn default_value(attribute: &Attribute) -> Result<Expr> {
    match &attribute.meta {
        Meta::NameValue(pair) => Ok(pair.value.clone()),
        Meta::List(list) => Err(Error::new_spanned(
            attribute,
            format!("write the value behind `=`: `#[default = {}]`", list.tokens),
        )),
        Meta::Path(_) => Err(Error::new_spanned(
            attribute,
            "the default is missing: write `#[default = 10]`, or `#[default = Default::default()]`",
        )),
    }
}

/// The name of an argument.
fn name(pattern: &Pat) -> Result<Ident> {
    match pattern {
        Pat::Ident(named) if named.by_ref.is_none() && named.subpat.is_none() => {
            Ok(named.ident.clone())
        }
        other => Err(Error::new_spanned(
            other,
            "an argument needs a plain name, by which jobs give it; take it apart in the function's body",
        )),
    }
}

fn check_type(ty: &Type) -> Result<()> {
    if let Type::ImplTrait(_) = ty {
        let message =
            "an argument has one type, which its JSON is read as; name it instead of `impl Trait`";
        return Err(Error::new_spanned(ty, message));
    }
    if is_one_of(ty, &["Args"]) {
        let message = "`Args` is for tasks without the macro; take the arguments one by one, by name: `days: u32, limit: u32`";
        return Err(Error::new_spanned(ty, message));
    }
    if is_borrowed(ty.to_token_stream()) {
        let message = format!(
            "an argument is not borrowed: it is stored as JSON, and read for each run; {}",
            owned(ty)
        );
        return Err(Error::new_spanned(ty, message));
    }
    Ok(())
}

/// Whether a type has a reference, or a lifetime other than `'static`. JSON cannot be read as a reference to something
/// static, either.
fn is_borrowed(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_borrowed = match token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => true,
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                !matches!(tokens.peek(), Some(TokenTree::Ident(ident)) if ident == "static")
            }
            TokenTree::Group(group) => is_borrowed(group.stream()),
            _ => false,
        };
        if is_borrowed {
            return true;
        }
    }
    false
}

/// What to take instead of a borrowed type.
fn owned(ty: &Type) -> String {
    let Type::Reference(reference) = ty else {
        return "take an owned type".to_owned();
    };
    match bare(&reference.elem) {
        inner if is_one_of(inner, &["str"]) => "take `String`".to_owned(),
        inner if is_one_of(inner, &["Path"]) => "take `PathBuf`".to_owned(),
        Type::Slice(slice) => format!("take `Vec<{}>`", slice.elem.to_token_stream()),
        inner => format!("take `{}`", inner.to_token_stream()),
    }
}

/// A type without the brackets that a macro may have put around it.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

/// Whether a type's path ends with one of these names.
pub(crate) fn is_one_of(ty: &Type, names: &[&str]) -> bool {
    let Type::Path(path) = ty else { return false };
    let last = path.path.segments.last();
    last.is_some_and(|last| names.iter().any(|name| last.ident == name))
}

/// What a type is an option of.
fn option_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path
        .path
        .segments
        .last()
        .filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if arguments.args.len() == 1 => Some(bare(inner)),
        _ => None,
    }
}
