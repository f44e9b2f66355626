/**
 * What daemons are made of: scopes of dependencies, deadlines, locks and limits, configuration files and plugins, the program
 * around it all, metrics.
 *
 * @packageDocumentation
 */
export * from './aborted.ts'
export * from './config-file.ts'
export * from './daemon.ts'
export * from './deadline.ts'
export * from './import-beside.ts'
export * from './keyed-mutex.ts'
export * from './limiter.ts'
export * from './limits-schema.ts'
export * from './metrics-server.ts'
export * from './plugin-loader.ts'
export * from './ready.ts'
export * from './refuse-if-aborted.ts'
export * from './repair-ledger.ts'
export * from './scope.ts'
export * from './steps.ts'
export * from './token.ts'
