/**
 * The CNI specification, 0.1.0 to 1.1.0: environment, network configuration, results and errors.
 *
 * @packageDocumentation
 */
export * from './model.ts'
