// Fuzzing reads what srctl is given and answered, short of its process.
[assembly: System.Runtime.CompilerServices.InternalsVisibleTo("SiteRecovery.Fuzzing")]
