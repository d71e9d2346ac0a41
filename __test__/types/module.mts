// The same package, seen by an ES module.

import DefaultPlugin, { DataSyncError, type DataSyncOptions, DataSyncPlugin } from '@starbasedb/plugin-data-sync';

const options: DataSyncOptions = { enabled: false };
export const plugins: DataSyncPlugin[] = [new DataSyncPlugin(options), new DefaultPlugin(options)];
export const failure: Error = new DataSyncError('…');
