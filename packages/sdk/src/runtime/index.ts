/**
 * Composition and concurrency for daemons: scopes of dependencies, deadlines, locks and limits.
 *
 * @packageDocumentation
 */
export * from './deadline.ts'
export * from './import-beside.ts'
export * from './keyed-mutex.ts'
export * from './limiter.ts'
export * from './plugin-loader.ts'
export * from './ready.ts'
export * from './scope.ts'
export * from './token.ts'
