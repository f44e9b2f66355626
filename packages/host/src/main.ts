#!/usr/bin/env node
import { runDaemon } from '@cni-offload/sdk/runtime'
import { hostOptions, readHostConfig } from './config/load.ts'
import { createHost } from './host.ts'

await runDaemon({
  name: 'offload-host',
  purpose: 'Answers the CNI calls of this node and gives pods VFs that are connected on the DPU.',
  create: async (file) => createHost(await hostOptions(await readHostConfig(file), file)),
})
