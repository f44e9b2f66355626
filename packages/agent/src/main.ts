#!/usr/bin/env node
import { runDaemon } from '@cni-offload/sdk/runtime'
import { createAgent } from './agent.ts'
import { agentOptions, readAgentConfig } from './config/load.ts'

await runDaemon({
  name: 'offload-agent',
  purpose: 'Serves offload.v1 for the host of this node and drives CNI adapters on its DPU.',
  create: async (file) => createAgent(await agentOptions(await readAgentConfig(file), file)),
})
