export * from './index.js';
export { DataSyncPlugin as default } from './index.js';
