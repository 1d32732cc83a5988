//! The code that is called by a scheduler: to register the task, to check a job's arguments, to run it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, ExprLit, Lit, LitStr, Type};

use crate::code::{at, hygienic};
use crate::expand::Expansion;
use crate::parameter::{Argument, IfAbsent, Parameter, is_one_of};

impl Expansion<'_> {
    /// The task.
    pub(crate) fn task(&self) -> TokenStream {
        let Self {
            private,
            ident,
            name,
            ..
        } = self;
        let (input, checks) = (hygienic("input"), self.checks());
        let run = self.run(&input);
        let call = if self.task.is_async() {
            // That the future is not `Send` is said at the function's name.
            quote_spanned!(at(ident)=> Async(::std::boxed::Box::pin(async move { #run })))
        } else {
            quote!(Blocking(::std::boxed::Box::new(move || { #run })))
        };
        let declared_job = self.declared_job();
        quote! {
            impl #private::TaskFunction for #ident {
                const NAME: &'static ::core::primitive::str = #name;

                fn register(registry: &mut #private::Registry) -> ::core::result::Result<(), #private::RegisterError> {
                    struct PunctualTask;

                    impl #private::Task for PunctualTask {
                        #[allow(unreachable_code, clippy::diverging_sub_expression)]
                        fn call(&self, #input: #private::TaskInput) -> #private::TaskCall {
                            #private::TaskCall::#call
                        }

                        fn check(&self, args: &#private::JobArgs) -> ::core::result::Result<(), #private::ArgsError> {
                            #checks
                        }
                    }

                    registry.add_task(#name, PunctualTask)
                }

                fn into_args(self) -> ::core::result::Result<#private::JobArgs, #private::serde_json::Error> {
                    #private::CallArgs::to_job(&self)
                }

                #declared_job
            }
        }
    }

    /// The task where it is local, and its calls as jobs: those of other tasks are jobs already.
    pub(crate) fn local_task(&self) -> [TokenStream; 2] {
        let Self {
            private,
            ident,
            name,
            ..
        } = self;
        let (input, checks) = (hygienic("input"), self.checks());
        let run = self.run(&input);
        let task = quote! {
            impl #private::LocalTaskFunction for #ident {
                const NAME: &'static ::core::primitive::str = #name;

                fn register(tasks: &mut #private::LocalTasks) -> ::core::result::Result<(), #private::RegisterError> {
                    struct PunctualTask;

                    impl #private::LocalFunction<#ident> for PunctualTask {
                        #[allow(unreachable_code, clippy::diverging_sub_expression)]
                        fn call(&self, #input: &#private::TaskInput) -> #private::LocalFuture {
                            let #input = ::core::clone::Clone::clone(#input);
                            ::std::boxed::Box::pin(async move { #run })
                        }

                        fn check(args: &#private::JobArgs) -> ::core::result::Result<(), #private::ArgsError> {
                            #checks
                        }
                    }

                    tasks.add(#name, PunctualTask)
                }

                fn into_args(self) -> ::core::result::Result<#private::JobArgs, #private::serde_json::Error> {
                    #private::CallArgs::to_job(&self)
                }
            }
        };
        let job = quote! {
            impl #private::IntoNewJob for #ident {
                fn into_new_job(self) -> #private::NewJob {
                    #private::NewJob::of_call(#name, #private::CallArgs::to_job(&self))
                }
            }
        };
        [task, job]
    }

    /// Whether a job's arguments fit; `args` has them.
    fn checks(&self) -> TokenStream {
        let Self { private, ident, .. } = self;
        let injected = self
            .task
            .injected()
            .map(|ty| quote_spanned!(at(ty)=> <#ty as #private::Parameter>::check(args)?;));
        quote! {
            #private::check::<#ident>(args)?;
            #(#injected)*
            ::core::result::Result::Ok(())
        }
    }

    /// What happens in a run: makes the parameters, fills in the defaults, calls the function.
    fn run(&self, input: &Ident) -> TokenStream {
        let Self { private, ident, .. } = self;
        let (call, end, error) = (hygienic("call"), hygienic("end"), hygienic("error"));
        let make = |name: &Ident, ty: &dyn ToTokens, span: Span| {
            let made = quote_spanned!(span=> <#ty as #private::Parameter>::make(&#input));
            quote! {
                let #name = match #made {
                    ::core::result::Result::Ok(#name) => #name,
                    ::core::result::Result::Err(#error) => return #private::failed(&#error),
                };
            }
        };
        let mut makes = vec![make(&call, ident, Span::call_site())];
        let mut values = Vec::new();
        for parameter in &self.task.parameters {
            match parameter {
                Parameter::Argument(argument) => values.push(value(argument, &call)),
                Parameter::Injected(ty) => {
                    let name = hygienic(&format!("injected{}", makes.len()));
                    makes.push(make(&name, ty, at(ty)));
                    values.push(name.to_token_stream());
                }
            }
        }
        let dot_await = self.task.is_async().then(|| quote!(.await));
        let output = self.task.output();
        let into = if is_opaque(&output) {
            quote!(#private::IntoTaskEnd::into_task_end)
        } else {
            quote_spanned!(at(&output)=> <#output as #private::IntoTaskEnd>::into_task_end)
        };
        quote! {
            #(#makes)*
            let #end = #ident::call(#(#values),*) #dot_await;
            #into(#end, #input.context.output())
        }
    }

    fn declared_job(&self) -> Option<TokenStream> {
        let Self {
            private,
            ident,
            name,
            ..
        } = self;
        let job = self.job?;
        let given = |argument: &Argument| {
            let mut all = job.args.iter();
            all.find(|(given, _)| argument.is(given))
                .map(|(_, value)| value)
        };
        let required = self.task.required().filter_map(given);
        let set = self.task.optional().filter_map(|argument| {
            let (name, value) = (&argument.ident, given(argument)?);
            Some(quote!(.#name(#value)))
        });
        let id = job.id.as_ref().map_or_else(|| name.clone(), LitStr::value);
        let trigger = &job.schedule.json;
        let options = job.options.iter().map(|(key, value)| quote!(.#key(#value)));
        Some(quote! {
            fn declared_job() -> ::core::option::Option<#private::NewJob> {
                ::core::option::Option::Some(#private::declared_job(
                    #ident(#(#required),*) #(#set)*,
                    #id,
                    #trigger,
                ) #(#options)*)
            }
        })
    }
}

/// The value of an argument in a run.
fn value(argument: &Argument, call: &Ident) -> TokenStream {
    let ident = &argument.ident;
    let default = match &argument.if_absent {
        IfAbsent::Required => return quote!(#call.#ident),
        IfAbsent::None { .. } => quote!(::core::option::Option::None),
        IfAbsent::Value(
            text @ Expr::Lit(ExprLit {
                lit: Lit::Str(_), ..
            }),
        ) if is_one_of(&argument.ty, &["String"]) => {
            quote!(::core::convert::Into::into(#text))
        }
        IfAbsent::Value(value) => {
            // So that one of another type is said to be of another than the argument.
            let (default, ty) = (hygienic("default"), &argument.ty);
            quote!({ let #default: #ty = #value; #default })
        }
    };
    let given = hygienic("given");
    quote! {
        match #call.#ident {
            ::core::option::Option::Some(#given) => #given,
            ::core::option::Option::None => #default,
        }
    }
}

/// Whether a type cannot be named again.
fn is_opaque(ty: &Type) -> bool {
    ty.to_token_stream()
        .into_iter()
        .any(|token| token.to_string() == "impl")
}
