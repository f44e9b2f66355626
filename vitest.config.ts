import { configDefaults, defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files that take longest, the longest first: what is begun last must be short, or processors are idle at the end. */
const LONGEST = [
  'e2e/conformance',
  'packages/adapter-cilium/test/compliance',
  'e2e/crash-points/hello',
  'e2e/matrix/matrix',
  'e2e/demo',
  'e2e/path',
  'packages/adapter-delegate/test/compliance',
  'packages/adapter-sriov/test/compliance',
  'packages/hw-octeon/test/compliance',
  'packages/shim/test/shim',
  'e2e/drift',
  'e2e/containerd/containerd',
  'e2e/lost-state',
  'e2e/reboot',
  'e2e/spec',
  'e2e/host-reboot',
  'packages/adapter-delegate/test/restart',
  'packages/adapter-cilium/test/splice/adapter',
  'e2e/cilium/lab',
  'e2e/multus/multus',
  'e2e/faults/adapters',
  'e2e/crash-points/recover',
  'e2e/crash-points/delegate',
  'e2e/cilium/policies',
  'examples/hello-adapter/test/compliance',
  'packages/adapter-cilium/test/splice/left-behind',
  'e2e/cilium/guide',
  'packages/hw-octeon/test/host/octeon-host',
  'e2e/upgrade',
  'e2e/chaos',
  'packages/adapter-delegate/test/adapter',
  'e2e/link',
  'packages/protocol/test/tls',
  'packages/testing/test/adapter/sound',
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification): number => {
      const at = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`))
      if (at >= 0) return at
      // Those that share processes come one after the other: only then a process is used again.
      return LONGEST.length + ['e2e', 'unit', 'light'].indexOf(project.name)
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}

/** Packages whose tests leave nothing in their process: many short files, of which most of the time went to loading. */
const LIGHT = ['packages/{agent,host,sdk}/test/**/*.test.ts', 'bench/test/**/*.test.ts', 'scripts/test/**/*.test.ts']

// What tests start as processes of their own is loaded from a bundle, where there is one: `./run` makes it.
const bundle = process.env['TEST_BUNDLE']

export default defineConfig({
  test: {
    env: bundle === undefined ? {} : { NODE_OPTIONS: `--import=${bundle}` },
    pool: 'forks',
    // More than there are processors at least: tests wait for the kernel a third of the time.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['e2e/**/*.test.ts'],
          // Those are for a virtual machine: ./run e2e vm.
          exclude: [...configDefaults.exclude, 'e2e/vm/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['packages/*/test/**/*.test.ts', 'examples/*/test/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...LIGHT],
        },
      },
      {
        extends: true,
        test: { name: 'light', include: LIGHT, isolate: false },
      },
    ],
  },
})
