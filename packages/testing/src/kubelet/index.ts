/**
 * A kubelet as far as device plugins see one, for tests of what advertises devices.
 *
 * @packageDocumentation
 */
export { type Admission, FakeKubelet } from './fake-kubelet.ts'
