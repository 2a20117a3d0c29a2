/** Denials of the guard: the codes that gateways answer with, too. */
export * from '../../domain/call-denial.ts';
