export * from './finding.ts'
export { octeonDpuChecks, type OcteonDpuExpectations } from './dpu/dpu-checks.ts'
export { octeonDpuExpectations } from './dpu/expectations.ts'
export { octeonHostChecks, type OcteonHostExpectations } from './host/host-checks.ts'
