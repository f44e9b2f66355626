/**
 * A scripted kubectl for tests of what calls it: a real program with arguments, input and exit code, and no cluster behind it.
 *
 * @packageDocumentation
 */
export * from './answers.ts'
export type { ExpectedTimes, KubectlMatcher, KubectlReply, KubectlRequest } from './expectation.ts'
export * from './fake-kubectl.ts'
