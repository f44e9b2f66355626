/**
 * The CNI specification, 0.1.0 to 1.1.0: environment, network configuration, results and errors.
 *
 * @packageDocumentation
 */
export * from './args.ts'
export * from './capability-demands.ts'
export * from './environment.ts'
export * from './error.ts'
export * from './model.ts'
export { parseNetconf } from './netconf.ts'
export { decodeResult } from './result-decode.ts'
export { encodeResult } from './result-encode.ts'
export { withGateway } from './route-gateways.ts'
export { answerVersion, isAtLeast, isCniVersion, NEWEST_CNI_VERSION, versionReply } from './version.ts'
