/**
 * What Linux gives us, from Node and without spawning processes: rtnetlink, network namespaces, peer credentials.
 *
 * @packageDocumentation
 */
export * from './net/model.ts'
